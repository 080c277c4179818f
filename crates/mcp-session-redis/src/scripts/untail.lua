-- Forgets who tails a log, because that node is gone.
-- KEYS: table. ARGV: stream, node.
local tails = redis.call('HGET', KEYS[1], 't' .. ARGV[1])
if not tails then return 0 end
tails = string.gsub(tails, ' ' .. ARGV[2], '')
if tails == '' then
  redis.call('HDEL', KEYS[1], 't' .. ARGV[1])
else
  redis.call('HSET', KEYS[1], 't' .. ARGV[1], tails)
end
return 1
