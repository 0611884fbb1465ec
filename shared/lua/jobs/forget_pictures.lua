--[[
  The record of an ended job no longer names the pictures of its pages: their payloads are about to be deleted.

  Input:  id
  Output: the job whose payloads they are, or '' while another job still names them, or this one has not ended
]]
--- @include fields

local id = unpack(ARGV)
local job = fields(keys.job(id), 'status', 'source')
if job.status and not TERMINAL_STATUSES[job.status] then return '' end -- pages may still come
local source = (job.source or '') ~= '' and job.source or id
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
