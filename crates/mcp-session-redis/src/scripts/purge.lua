-- Removes the logs of a session that run, and the session itself. Ended logs expire; nobody can read them without a record.
-- KEYS: record, table, standalone log. ARGV: life of a tombstone in ms, the beginning of the key of a log.
local fields = redis.call('HKEYS', KEYS[2])
for _, field in ipairs(fields) do
  if string.find(field, '^%d+$') then redis.call('DEL', ARGV[2] .. field) end
end
redis.call('DEL', KEYS[2], KEYS[3])
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('SET', KEYS[1], '-', 'PX', ARGV[1]) end
return 1
