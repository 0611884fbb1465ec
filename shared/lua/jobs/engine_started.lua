--[[
  A worker's engine is ready for the first time.

  Input:  worker (its name, of this one process)
  Output: 1
]]
--- @include count

local REMEMBERED_SECONDS = 3600 -- longer than a call can come late

local worker = unpack(ARGV)

if redis.call('SET', keys.worker_started(worker), 1, 'NX', 'EX', REMEMBERED_SECONDS) then count('engine_starts', 1) end
return 1
