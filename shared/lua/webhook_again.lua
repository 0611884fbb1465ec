-- ARGV: id, most times  -> 'ok' | 'busy' being sent just now | 'often' sent again too often | 'gone'
local hid, key, t = ARGV[1], 'hook:' .. ARGV[1], clock()
local f = redis.call('HMGET', key, 'status', 'endpoint', 'owner', 'again')
if not f[1] then return 'gone' end
if f[1] == 'leased' or f[1] == 'sending' then return 'busy' end
if tonumber(f[4] or 0) >= tonumber(ARGV[2]) then return 'often' end
redis.call('HINCRBY', key, 'again', 1)
for _, gate in ipairs(gates(f[2], f[3])) do redis.call('ZREM', 'hooks:wait:' .. gate, hid) end
if f[1] ~= 'pending' then redis.call('HSET', key, 'tries', 0) end
redis.call('HSET', key, 'status', 'pending', 'next', t)
redis.call('ZADD', 'hooks:due', t, hid)
return 'ok'
