--[[
  Begin one try of a leased webhook: it counts from now on.

  Input:
    id, token
    lease_seconds
    operation       names this try: it is counted once, though the call may come twice

  Output: the webhook's fields; {} when it is no longer the caller's
]]
--- @include clock
--- @include fields

local id, token, lease_seconds, operation = unpack(ARGV)
local key, now = keys.webhook(id), clock()
local webhook = fields(key, 'takes', 'status', 'begin_operation')

if webhook.takes ~= token then return {} end
if webhook.begin_operation == operation then return redis.call('HGETALL', key) end
if webhook.status ~= 'leased' then return {} end
redis.call('HINCRBY', key, 'tries', 1)
redis.call('HSET', key, 'status', 'sending', 'begun', now, 'begin_operation', operation)
redis.call('ZADD', keys.webhooks_due, now + lease_seconds, id)
return redis.call('HGETALL', key)
