-- Appends to the standalone log, at the next position. The same token of the same node appends nothing.
-- KEYS: record, table, standalone log. ARGV: stream, node, token, event, life of the log in ms, limits of events and bytes.
-- Returns what happened, the position, who tails the log, and whether that position has a later event of the node.
local record = redis.call('GET', KEYS[1])
if not record then return {'absent'} end
if record == '-' then return {'gone'} end
local known = redis.call('HGET', KEYS[2], 'w' .. ARGV[2])
if known then
  local token, position = string.match(known, '^(%d+) (%d+)$')
  local later = tonumber(token) - tonumber(ARGV[3])
  if later >= 0 then return {'done', position, '', later > 0 and 1 or 0} end
end
local position = string.format('%.0f', tonumber(redis.call('HGET', KEYS[2], 'g') or '0') + 1)
local bytes = tonumber(redis.call('HGET', KEYS[2], 'b') or '0') + #ARGV[4]
redis.call('XADD', KEYS[3], '0-' .. position, 'd', ARGV[4])
local size = redis.call('XLEN', KEYS[3])
while size > 1 and (size > tonumber(ARGV[6]) or bytes > tonumber(ARGV[7])) do
  local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  size = size - 1
  bytes = bytes - #oldest[2][2]
  redis.call('XDEL', KEYS[3], oldest[1])
end
redis.call('HSET', KEYS[2], 'g', position, 'b', string.format('%.0f', bytes), 'w' .. ARGV[2], ARGV[3] .. ' ' .. position)
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return {'done', position, redis.call('HGET', KEYS[2], 't' .. ARGV[1]) or '', 0}
