-- A node will not run again.
-- KEYS: lease, inbox, notices, mark. ARGV: life of the mark in ms.
redis.call('SET', KEYS[4], '1', 'PX', ARGV[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return 1
