-- Ends a log for an owner that is gone. Its end is above every position, so Redis itself refuses what the owner adds later.
-- KEYS: record, table, log. ARGV: stream, life of an ended log in ms, then the last event, if there is one.
-- Returns what happened, the position of the last event, and who tails the log.
local record = redis.call('GET', KEYS[1])
if not record then return {'absent'} end
if record == '-' then return {'unknown'} end
local top = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
if top and top[1] == '1-0' then return {'done', top[2][4]} end
local meta = redis.call('HGET', KEYS[2], ARGV[1])
if not meta then return {'unknown'} end
local last = 0
if top then last = tonumber(string.match(top[1], '-(%d+)$')) end
if ARGV[3] then
  last = last + 1
  redis.call('XADD', KEYS[3], '0-' .. string.format('%.0f', last), 'd', ARGV[3])
end
local position = string.format('%.0f', last)
redis.call('XADD', KEYS[3], '1-0', 'e', 'sealed', 'n', position, 'r', string.match(meta, '^%x+ %d+ (.*)$'))
local tails = redis.call('HGET', KEYS[2], 't' .. ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1], 't' .. ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return {'done', position, tails}
