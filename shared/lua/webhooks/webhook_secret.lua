--[[
  The secret that signs an owner's webhooks; made at first need, or replaced.

  Input:
    owner
    secret     a new one, for where it is needed; to rotate to one that signs already changes nothing
    what       'keep' | 'rotate'
    overlap    seconds the former one goes on to sign

  Output: { current, previous or '', until when the previous one signs }
]]
--- @include clock
--- @include fields

local owner, secret, what, overlap = unpack(ARGV)
local key, now = keys.webhook_secret(owner), clock()
local known = fields(key, 'current', 'previous')

if not known.current then
  redis.call('HSET', key, 'current', secret)
elseif what == 'rotate' and known.current ~= secret and known.previous ~= secret then
  redis.call('HSET', key, 'current', secret, 'previous', known.current, 'till', now + overlap)
end
local secrets = fields(key, 'current', 'previous', 'till')
if secrets.previous and tonumber(secrets.till) > now then
  return { secrets.current, secrets.previous, secrets.till }
end
redis.call('HDEL', key, 'previous', 'till')
return { secrets.current, '', '0' }
