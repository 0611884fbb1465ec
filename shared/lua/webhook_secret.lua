-- ARGV: owner, a new secret, 'keep' | 'rotate', seconds the old one goes on to sign  -> {current, previous or '', till}
local key, t = 'secret:' .. ARGV[1], clock()
local current = redis.call('HGET', key, 'current')
if not current then
  redis.call('HSET', key, 'current', ARGV[2])
elseif ARGV[3] == 'rotate' then
  redis.call('HSET', key, 'current', ARGV[2], 'previous', current, 'till', t + tonumber(ARGV[4]))
end
local f = redis.call('HMGET', key, 'current', 'previous', 'till')
if f[2] and tonumber(f[3]) > t then return { f[1], f[2], f[3] } end
redis.call('HDEL', key, 'previous', 'till')
return { f[1], '', '0' }
