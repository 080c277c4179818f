-- The number of a new connection for one of the logs of a session. Never less than the time, so that it grows even if Redis has
-- lost the last numbers.
-- KEYS: record, table, log. ARGV: life of the table in ms.
local record = redis.call('GET', KEYS[1])
if not record then return {'absent'} end
if record == '-' then return {'unknown'} end
local t = redis.call('TIME')
local last = tonumber(redis.call('HGET', KEYS[2], 'c') or '0')
local number = string.format('%.0f', math.max(last + 1, t[1] * 1000000 + t[2]))
redis.call('HSET', KEYS[2], 'c', number)
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return {'done', number}
