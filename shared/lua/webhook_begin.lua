-- ARGV: id, token, lease seconds  -> the webhook's fields with this try counted | {} when it is no longer the caller's
local hid, key, t = ARGV[1], 'hook:' .. ARGV[1], clock()
local f = redis.call('HMGET', key, 'takes', 'status', 'keep')
if f[1] ~= ARGV[2] or f[2] ~= 'leased' then return {} end
redis.call('HINCRBY', key, 'tries', 1)
redis.call('HSET', key, 'status', 'sending', 'begun', t)
redis.call('EXPIRE', key, f[3])
redis.call('ZADD', 'hooks:due', t + tonumber(ARGV[3]), hid)
return redis.call('HGETALL', key)
