--[[
  The job has failed, whatever its pages say.

  Input:  id, token, code, detail
  Output: 1, or 0 when the claim is lost

  Events: done
]]
--- @include clock
--- @include closed
--- @include end_job
--- @include holds

local id, token, code, detail = unpack(ARGV)

if not holds(id, token) then return closed(id, token) == 'failed' and 1 or 0 end
redis.call('HSET', keys.job(id), 'closed_token', token)
fail_job(id, code, detail, clock())
return 1
