-- Looks for news after a position, and remembers who wants to hear of it.
-- KEYS: record, table, log. ARGV: stream, position, whether it is the standalone log, the node that tails it.
-- Returns 'news', or 'none' and the owner of the log.
local record = redis.call('GET', KEYS[1])
if not record or record == '-' then return {'news'} end
local after, owner, last = tonumber(ARGV[2]), '', 0
if ARGV[3] == '1' then
  last = tonumber(redis.call('HGET', KEYS[2], 'g') or '0')
else
  local top = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  local meta = redis.call('HGET', KEYS[2], ARGV[1])
  if not meta then return {'news'} end
  if top then last = tonumber(string.match(top[1], '-(%d+)$')) end
  owner = string.match(meta, '^%x+')
end
if after ~= last then return {'news'} end
if ARGV[4] ~= '' then
  local tails = redis.call('HGET', KEYS[2], 't' .. ARGV[1]) or ''
  if not string.find(tails, ARGV[4], 1, true) then
    redis.call('HSET', KEYS[2], 't' .. ARGV[1], tails .. ' ' .. ARGV[4])
  end
end
return {'none', owner}
