-- ARGV: id, token, engine  -> attempt, or 0 when the claim is lost
local id, t = ARGV[1], clock()
local key = 'job:' .. id
if not holds(id, ARGV[2]) then return 0 end
local f = redis.call('HMGET', key, 'status', 'rank')
if f[1] == 'queued' then running(1) end
redis.call('HSET', key, 'status', 'processing', 'engine', ARGV[3])
redis.call('HSETNX', key, 'started', t)
redis.call('ZREM', 'waiting:' .. f[2], id)
local attempt = redis.call('HINCRBY', key, 'attempt', 1)
emit(id, 'status', { status = 'processing', attempt = attempt })
outbox(id, 'job.started', t)
return attempt
