-- Puts back into the standalone log what a node knows of it: how far it has come, and the events that the node has published
-- lately. What is there already stays.
-- KEYS: record, table, standalone log. ARGV: the last position, life of the log in ms, limit of events, then for each event its
-- position, source, token and text.
local record = redis.call('GET', KEYS[1])
if not record or record == '-' then return 0 end
local function number(field) return tonumber(redis.call('HGET', KEYS[2], field) or '0') end
local top, bytes, limit = math.max(number('g'), tonumber(ARGV[1])), number('b'), tonumber(ARGV[3])
local entries
for i = 4, #ARGV, 4 do
  local position, id = tonumber(ARGV[i]), '0-' .. ARGV[i]
  if position > top - limit and #redis.call('XRANGE', KEYS[3], id, id) == 0 then
    entries = entries or redis.call('XRANGE', KEYS[3], '-', '+')
    entries[#entries + 1] = {id, {'d', ARGV[i + 3]}}
    bytes = bytes + #ARGV[i + 3]
  end
  local known = redis.call('HGET', KEYS[2], 'w' .. ARGV[i + 1])
  if not known or tonumber(string.match(known, '^%d+')) < tonumber(ARGV[i + 2]) then
    redis.call('HSET', KEYS[2], 'w' .. ARGV[i + 1], ARGV[i + 2] .. ' ' .. ARGV[i])
  end
end
if entries then
  -- A stream grows at its end only, and other nodes may have put back later events.
  local function seq(entry) return tonumber(string.match(entry[1], '-(%d+)$')) end
  table.sort(entries, function(one, other) return seq(one) < seq(other) end)
  redis.call('DEL', KEYS[3])
  for _, entry in ipairs(entries) do redis.call('XADD', KEYS[3], entry[1], 'd', entry[2][2]) end
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
redis.call('HSET', KEYS[2], 'g', string.format('%.0f', top), 'b', string.format('%.0f', bytes))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
