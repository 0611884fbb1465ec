--[[
  The record of an ended job no longer names the pictures of its pages: their payloads are about to be deleted.

  Input:  id
  Output: the job whose payloads they are, or '' while another job still names them
]]
--- @include fields

local id = unpack(ARGV)
local named = fields(keys.job(id), 'source').source or ''
local source = named ~= '' and named or id
local stored = redis.call('HGETALL', keys.page_payloads(id))

-- A value is a token, the letters of the parts, and of a cached job its source: `PagePayloads` in
-- shared/payloads/names.py.
for i = 1, #stored, 2 do
  local token, parts, rest = string.match(stored[i + 1], '^(%S+) (%a*)(.*)$')
  redis.call('HSET', keys.page_payloads(id), stored[i], token .. ' ' .. string.gsub(parts, 'p', '') .. rest)
end
for _, holder in ipairs(redis.call('SMEMBERS', keys.holders(source))) do
  for _, its in ipairs(redis.call('HVALS', keys.page_payloads(holder))) do
    if string.match(its, '^%S+ %a*p') then return '' end
  end
end
return source
