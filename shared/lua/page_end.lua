-- ARGV: id, token, page, status, result JSON, mark JSON, picture or '', prompt tokens, completion tokens,
--       engine seconds, then figure name, JPEG, ...   -> 1 stored | 2 was stored before | 0 the claim is lost
local id, n, status = ARGV[1], ARGV[3], ARGV[4]
local key, t = 'job:' .. id, clock()
if not holds(id, ARGV[2]) then return 0 end
if redis.call('HSETNX', 'marks:' .. id, n, ARGV[6]) == 0 then return 2 end
redis.call('HSET', 'pages:' .. id, n, ARGV[5])
if ARGV[7] ~= '' then redis.call('HSET', 'img:' .. id, n, ARGV[7]) end
for i = 11, #ARGV, 2 do redis.call('HSET', 'fig:' .. id, ARGV[i], ARGV[i + 1]) end
local began = tonumber(redis.call('HGET', 'flight:' .. id, n) or t)
redis.call('HDEL', 'flight:' .. id, n)
redis.call('HINCRBY', key, status == 'failed' and 'pages_failed' or 'pages_done', 1)
if status == 'degraded' then redis.call('HINCRBY', key, 'pages_degraded', 1) end
redis.call('HINCRBY', key, 'prompt_tokens', ARGV[8])
redis.call('HINCRBY', key, 'completion_tokens', ARGV[9])
redis.call('HINCRBYFLOAT', key, 'engine_seconds', ARGV[10])
redis.call('HINCRBY', 'counters', 'pages', -1)
redis.call('HINCRBY', 'counters', 'fin:' .. redis.call('HGET', key, 'rank'), 1)
redis.call('HINCRBY', 'counters', 'pages:' .. status, 1)
-- Since the page before ended, or this one began: time in which nothing was read says nothing of the speed.
local last, bucket = tonumber(redis.call('GET', 'rate:last') or 0), math.floor(t / 10)
redis.call('INCRBYFLOAT', 'rate:busy:' .. bucket, stamp(math.max(0, t - math.max(began, last))))
redis.call('INCR', 'rate:' .. bucket)
redis.call('SET', 'rate:last', stamp(t), 'EX', 90)
redis.call('EXPIRE', 'rate:' .. bucket, 90)
redis.call('EXPIRE', 'rate:busy:' .. bucket, 90)
local f = redis.call('HMGET', key, 'pages_total', 'pages_done', 'pages_failed')
local event = cjson.decode(ARGV[6])
event.page = tonumber(n)
event.number = nil
event.progress = { pages_total = tonumber(f[1]), pages_done = tonumber(f[2]), pages_failed = tonumber(f[3]) }
emit(id, status == 'failed' and 'page.failed' or 'page.completed', event)
return 1
