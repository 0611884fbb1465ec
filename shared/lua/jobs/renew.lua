--[[
  Renew the leases of a worker, all at once.

  Input:  lease_seconds, then id, token, id, token, ...
  Output: the ids whose claim is lost: taken over, cancelled, overdue or deleted

  Events: done, for those that are overdue
]]
--- @include clock
--- @include holds
--- @include look_again
--- @include overdue

local FIRST_CLAIM = 2

local lease_seconds, now, lost = ARGV[1], clock(), {}

for i = FIRST_CLAIM, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  if not holds(id, token) or overdue(id, now) then
    lost[#lost + 1] = id
  else
    redis.call('HSET', keys.job(id), 'lease', now + lease_seconds)
    look_again(id, now + lease_seconds)
  end
end
return lost
