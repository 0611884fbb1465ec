--[[
  Keep the bytes that every try sends; the record they were made of is no longer needed.

  Input:  id, token, body
  Output: 1, or 0 when the webhook is no longer the caller's
]]
--- @include fields

local id, token, body = unpack(ARGV)

if fields(keys.webhook(id), 'takes').takes ~= token then return 0 end
redis.call('HSETNX', keys.webhook(id), 'body', body)
redis.call('HDEL', keys.webhook(id), 'record')
return 1
