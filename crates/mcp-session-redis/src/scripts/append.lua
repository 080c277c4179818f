-- Compare and append: an append begins at or before the next position of the log, and what is there already is skipped.
-- KEYS: record, table, log. ARGV: stream, owner, request, position, whether it ends, life of a log and of an ended one in ms,
-- limits of events and bytes, then the events.
-- Returns what happened, the next position, and who tails the log.
local record = redis.call('GET', KEYS[1])
if not record then return {'absent'} end
if record == '-' then return {'gone'} end
local stream, at, first = ARGV[1], tonumber(ARGV[4]), 10
local count, size = #ARGV - first + 1, redis.call('XLEN', KEYS[3])
local last, known, added = at - 1, 0, 0
-- Mostly the log has as many entries as there are positions before this one. If Redis then takes the event, which it does only
-- after all that are there and before an end, they are the events at these positions: nothing is missing. This is cheaper than
-- to read the last entry.
if size == last and count > 0 and type(redis.pcall('XADD', KEYS[3], '0-' .. ARGV[4], 'd', ARGV[first])) == 'string' then
  last, added = at, 1
else
  local top = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  local ended = false
  last = 0
  if top then
    local epoch, seq = string.match(top[1], '^(%d+)-(%d+)$')
    if epoch == '1' then
      -- The end: 1-0, with 'e' (who ended the log), and the last position.
      if top[2][2] == 'sealed' then return {'sealed'} end
      ended, last = true, tonumber(top[2][4])
    else
      last = tonumber(seq)
    end
  end
  known = last + 1 - at
  if known < 0 then return {'behind', string.format('%.0f', last + 1)} end
  if ended then return {'done'} end
end
local meta, tails, bytes = redis.call('HGET', KEYS[2], stream), redis.call('HGET', KEYS[2], 't' .. stream), 0
if meta then bytes = tonumber(string.match(meta, '^%x+ (%d+) ')) end
if added == 1 then bytes = bytes + #ARGV[first] end
for i = first + known + added, #ARGV do
  last = last + 1
  bytes = bytes + #ARGV[i]
  redis.call('XADD', KEYS[3], '0-' .. string.format('%.0f', last), 'd', ARGV[i])
end
-- The oldest events go first, one by one: in the common case there are none to go, because positions begin at 1.
if last > tonumber(ARGV[8]) or bytes > tonumber(ARGV[9]) then
  size = redis.call('XLEN', KEYS[3])
  while size > 1 and (size > tonumber(ARGV[8]) or bytes > tonumber(ARGV[9])) do
    local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
    size = size - 1
    bytes = bytes - #oldest[2][2]
    redis.call('XDEL', KEYS[3], oldest[1])
  end
end
if ARGV[5] == '1' and known <= count then
  redis.call('XADD', KEYS[3], '1-0', 'e', 'owner', 'n', string.format('%.0f', last), 'r', ARGV[3])
  redis.call('HDEL', KEYS[2], stream, 't' .. stream)
  redis.call('PEXPIRE', KEYS[3], ARGV[7])
else
  redis.call('HSET', KEYS[2], stream, ARGV[2] .. ' ' .. string.format('%.0f', bytes) .. ' ' .. ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
-- Whatever keeps the record keeps the table too, once it is there.
if not meta then redis.call('PEXPIRE', KEYS[2], ARGV[6]) end
return {'done', '', tails}
