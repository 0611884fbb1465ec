-- ARGV: id  -> 1 forgotten | 0 there was none
local id = ARGV[1]
local f = redis.call('HMGET', 'job:' .. id, 'status', 'owner')
if not f[1] then return 0 end
if not terminal(f[1]) then end_job(id, 'cancelled', '', clock()) end
for _, kind in ipairs({ 'job:', 'pages:', 'marks:', 'img:', 'fig:', 'ev:' }) do redis.call('DEL', kind .. id) end
redis.call('ZREM', 'jobs:' .. f[2], id)
redis.call('ZREM', ENDED, f[2] .. ' ' .. id)
return 1
