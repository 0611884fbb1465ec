--[[
  End a job because its owner wants it.

  Input:
    id
    operation   names this call: a call that comes a second time gets the first one's answer

  Output: 'cancelled' | 'over' it has ended otherwise | 'gone' there is none

  Events: done
]]
--- @include clock
--- @include end_job
--- @include fields

local id, operation = unpack(ARGV)
local job = fields(keys.job(id), 'status', 'cancel_operation')

if not job.status then return 'gone' end
if TERMINAL_STATUSES[job.status] then return job.cancel_operation == operation and 'cancelled' or 'over' end
redis.call('HSET', keys.job(id), 'cancel_operation', operation)
end_job(id, 'cancelled', '', clock())
return 'cancelled'
