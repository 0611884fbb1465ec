-- ARGV: id, message, requeue after  -> 'requeued' | 'ended' | ''
local id, after, t = ARGV[1], tonumber(ARGV[3]), clock()
local due = redis.call('ZSCORE', 'open', id)
if not due or tonumber(due) > t then return '' end
local f = redis.call('HMGET', 'job:' .. id, 'status', 'lease', 'token', 'requeues')
if not f[1] or terminal(f[1]) then
  redis.call('ZREM', 'open', id)
  return ''
end
if overdue(id, t) then return 'ended' end
if f[3] ~= '' and tonumber(f[2]) > t then
  check_at(id, tonumber(f[2]))
  return ''
end
if f[3] ~= '' then
  void_flight(id, 'worker-lost', false)
  redis.call('HINCRBY', 'counters', 'leases_lost', 1)
  requeue(id, 'worker-lost', ARGV[2], t + after, t)
else
  -- Still waiting its turn, or its message is lost: a second message does no harm, but must not pile up.
  local n = redis.call('HINCRBY', 'job:' .. id, 'requeues', 1)
  requeue(id, 'message-lost', ARGV[2], t + math.min(after * 2 ^ n, 3600), t)
end
return 'requeued'
