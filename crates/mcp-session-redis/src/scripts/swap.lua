-- Replaces a record, if it is still what was read. Keeps its life, unless it is removed.
-- KEYS: record. ARGV: old, new, life of a tombstone in ms.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '-' then
  redis.call('SET', KEYS[1], '-', 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end
return 1
