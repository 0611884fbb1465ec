--[[
  The record of an ended job no longer names the pictures of its pages: their payloads are about to be deleted.

  Input:  id
  Output: 1
]]

local id = unpack(ARGV)
local stored = redis.call('HGETALL', keys.page_payloads(id))

-- A value is a token and, behind a blank, the letters of the parts: `PagePayloads` in shared/payloads/names.py.
for i = 1, #stored, 2 do
  local token, parts = string.match(stored[i + 1], '^(%S+) (%S*)$')
  redis.call('HSET', keys.page_payloads(id), stored[i], token .. ' ' .. string.gsub(parts, 'p', ''))
end
return 1
