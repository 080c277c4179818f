-- Stores a new record. One that is there, or was removed, stays.
-- KEYS: record. ARGV: JSON, life in ms.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000000 + t[2])
redis.call('SET', KEYS[1], now .. ' ' .. now .. ' ' .. ARGV[1], 'PX', ARGV[2])
return 1
