-- ARGV: id, token, worker, lease  -> {'gone' | 'done' | 'busy'} | {'ok', record, marked pages, starts}
local id, t = ARGV[1], clock()
local key = 'job:' .. id
local f = redis.call('HMGET', key, 'status', 'lease', 'token')
if not f[1] then return { 'gone' } end
if terminal(f[1]) then return { 'done' } end
if f[3] ~= '' and tonumber(f[2]) > t then return { 'busy' } end
if overdue(id, t) then return { 'done' } end
if redis.call('EXISTS', 'in:' .. id) == 0 then
  fail_job(id, 'upload-expired', 'The upload is no longer in the store', t)
  return { 'done' }
end
void_flight(id, 'worker-lost', false)
redis.call('HSET', key, 'token', ARGV[2], 'lease', t + tonumber(ARGV[4]), 'worker', ARGV[3])
check_at(id, t + tonumber(ARGV[4]))
return { 'ok', redis.call('HGETALL', key), redis.call('HKEYS', 'marks:' .. id), redis.call('HGETALL', 'starts:' .. id) }
