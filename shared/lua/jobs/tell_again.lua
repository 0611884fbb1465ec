--[[
  Have a worker tell how a job ended, because whoever should have told died or never got the message.

  Input:
    id
    message       for the queue; it goes to the very front, for there is nothing to read
    look_after    seconds until it is looked at again

  Output: 1
]]
--- @include clock
--- @include push

local id, message, look_after = unpack(ARGV)
local now, due = clock(), redis.call('ZSCORE', keys.untold, id)

if due and tonumber(due) <= now then
  redis.call('ZADD', keys.untold, now + look_after, id)
  push('0', message, true)
end
return 1
