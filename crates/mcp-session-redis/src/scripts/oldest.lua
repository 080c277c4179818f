-- The position before the oldest event that is kept.
-- KEYS: record, table, log. ARGV: stream, whether it is the standalone log.
local record = redis.call('GET', KEYS[1])
if not record then return {'absent'} end
if record == '-' then return {'unknown'} end
local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
if oldest and oldest[1] ~= '1-0' then
  return {'done', string.format('%.0f', tonumber(string.match(oldest[1], '-(%d+)$')) - 1)}
end
if oldest then return {'done', oldest[2][4]} end
if ARGV[2] == '1' then return {'done', redis.call('HGET', KEYS[2], 'g') or '0'} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return {'done', '0'} end
return {'unknown'}
