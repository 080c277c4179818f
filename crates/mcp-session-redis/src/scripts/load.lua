-- Reads a record, which keeps it and what belongs to it. A removed one is '-'.
-- KEYS: record, table, standalone log. ARGV: life in ms; 0 keeps nothing.
-- Returns the time in microseconds, the record or false, and how long ago it was last kept, in ms.
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000000 + t[2])
local record = redis.call('GET', KEYS[1])
local life = redis.call('PTTL', KEYS[1])
if record and record ~= '-' and ARGV[1] ~= '0' then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
end
return {now, record, life}
