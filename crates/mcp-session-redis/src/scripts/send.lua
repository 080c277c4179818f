-- A message to a node, even if it has not looked yet. Discarded if the node has left; never trimmed, only refused.
-- KEYS: inbox, mark. ARGV: message, life of the inbox in ms, the most messages in it.
if redis.call('EXISTS', KEYS[2]) == 1 then return 'left' end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 'full' end
redis.call('XADD', KEYS[1], '*', 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'sent'
