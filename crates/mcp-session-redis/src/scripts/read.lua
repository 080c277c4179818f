-- Reads events after a position.
-- KEYS: record, table, log. ARGV: stream, position, limit, whether it is the standalone log.
-- Returns what happened, whether these are the last events, the owner and the request of the log, and the events.
local record = redis.call('GET', KEYS[1])
if not record then return {'absent'} end
if record == '-' then return {'gone'} end
local after, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local top = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local last, ended, owner, request = 0, false, '', ''
if ARGV[4] == '1' then
  last = tonumber(redis.call('HGET', KEYS[2], 'g') or '0')
elseif top and top[1] == '1-0' then
  ended, last, request = true, tonumber(top[2][4]), top[2][6]
else
  local meta = redis.call('HGET', KEYS[2], ARGV[1])
  if not meta then return {'unknown'} end
  if top then last = tonumber(string.match(top[1], '-(%d+)$')) end
  owner, request = string.match(meta, '^(%x+) %d+ (.*)$')
end
if after > last then
  if ended or ARGV[4] == '1' then return {'unknown'} end
  return {'behind', string.format('%.0f', last + 1)}
end
local events = {}
if after < last and limit > 0 then
  local from = '0-' .. string.format('%.0f', after + 1)
  local entries = redis.call('XRANGE', KEYS[3], from, '0-18446744073709551615', 'COUNT', ARGV[3])
  if not entries[1] or entries[1][1] ~= from then return {'unknown'} end
  for i, entry in ipairs(entries) do events[i] = entry[2][2] end
end
local over = ended and after + #events == last
return {'done', over and 1 or 0, owner, request, events}
