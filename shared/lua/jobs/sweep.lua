--[[
  Take ended jobs, whose records have expired, off their owners' lists.

  Input:  none
  Output: how many; at most 1,000
]]
--- @include clock

local MOST = 1000

local due = redis.call('ZRANGEBYSCORE', keys.ended_jobs, '-inf', clock(), 'LIMIT', 0, MOST)
for _, entry in ipairs(due) do
  local owner, id = string.match(entry, '^(.*) (%S+)$')
  redis.call('ZREM', keys.jobs_of_owner(owner), id)
  redis.call('ZREM', keys.ended_jobs, entry)
end
return #due
