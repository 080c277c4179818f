-- Keeps a session and what belongs to it.
-- KEYS: record, table, standalone log. ARGV: life in ms.
local record = redis.call('GET', KEYS[1])
if not record or record == '-' then return 0 end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
return 1
