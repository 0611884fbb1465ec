--[[
  A worker that stops gives the job back.

  Input:
    id, token
    message       for the queue
    look_after    seconds until a reaper looks at it
    forgive       '1': what it had begun does not count against the pages

  Output: 1, or 0 when the claim is lost

  Events: page.restarted, status
]]
--- @include clock
--- @include closed
--- @include holds
--- @include requeue
--- @include void_pages

local id, token, message, look_after, forgive = unpack(ARGV)

if not holds(id, token) then return closed(id, token) and 1 or 0 end
redis.call('HSET', keys.job(id), 'closed_token', token)
void_pages(id, 'worker-stopped', forgive == '1')
requeue(id, 'worker-stopped', message, clock() + look_after)
return 1
