--[[
  Send a webhook again, because its owner asks for it.

  Input:
    id
    most        times this may be asked for
    operation   names this call: it counts once, though it may come twice

  Output: 'ok' | 'busy' it is being sent just now | 'often' asked for too often | 'gone' it is no longer kept
]]
--- @include clock
--- @include fields
--- @include gates

local id, most, operation = unpack(ARGV)
local key, now = keys.webhook(id), clock()
local webhook = fields(key, 'status', 'endpoint', 'owner', 'again', 'again_operation')

if not webhook.status then return 'gone' end
if webhook.again_operation == operation then return 'ok' end
if webhook.status == 'leased' or webhook.status == 'sending' then return 'busy' end
if tonumber(webhook.again or 0) >= tonumber(most) then return 'often' end
redis.call('HINCRBY', key, 'again', 1)
for _, gate in ipairs(gates(webhook.endpoint, webhook.owner)) do
  redis.call('ZREM', keys.webhooks_waiting(gate), id)
end
if webhook.status ~= 'pending' then redis.call('HSET', key, 'tries', 0) end
redis.call('HSET', key, 'status', 'pending', 'next', now, 'again_operation', operation)
redis.call('ZADD', keys.webhooks_due, now, id)
return 'ok'
