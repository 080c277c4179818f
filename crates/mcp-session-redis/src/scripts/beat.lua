-- A node runs: renews its lease, and keeps its inbox and its notices.
-- KEYS: lease, inbox, notices. ARGV: lease in ms, life of the inbox in ms.
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('XADD', KEYS[3], '*', 'h', '') end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
