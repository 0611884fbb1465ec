--[[
  Look at a job whose time to be looked at has come: end it if it is overdue, put it back if its worker is dead, send
  its message again if nobody claimed it although its turn is near.

  Input:
    id
    message       for the queue
    look_after    seconds until it is looked at again; doubled each time nobody claimed it
    operation     names this call: a call that comes a second time gets the first one's answer

  Output: 'requeued' | 'ended' | '' nothing was to be done, or its turn has not come yet

  Events: page.restarted, status, done
]]
--- @include clock
--- @include count
--- @include fields
--- @include look_again
--- @include overdue
--- @include requeue
--- @include void_pages

local LONGEST_WAIT = 3600
local NEAR = 256 -- places in the queue from the front on, in which a job should soon be claimed
local PLACES_A_SECOND = 10 -- by which a job behind them is taken to come nearer

local id, message, look_after, operation = unpack(ARGV)
local now, key = clock(), keys.job(id)
local job = fields(key, 'status', 'lease', 'token', 'rank', 'reap_operation')

-- The job's place in its queue, where those before it are reason enough that nobody has claimed it and its message may
-- well be there; else nil. Where its message is lost after all, the job still comes near, and it is sent again then.
local function place_behind_others()
  local place = redis.call('ZRANK', keys.waiting(job.rank), id)
  local queue = job.rank == '0' and keys.queue_high or keys.queue(job.rank)
  if place and place >= NEAR and place < redis.call('LLEN', queue) then return place end
end

if job.reap_operation == operation then return TERMINAL_STATUSES[job.status] and 'ended' or 'requeued' end
local due = redis.call('ZSCORE', keys.next_check, id)
if not due or tonumber(due) > now then return '' end
if not job.status or TERMINAL_STATUSES[job.status] then
  redis.call('ZREM', keys.next_check, id)
  return ''
end
if overdue(id, now) then
  redis.call('HSET', key, 'reap_operation', operation)
  return 'ended'
end
if job.token ~= '' and tonumber(job.lease) > now then
  look_again(id, tonumber(job.lease))
  return ''
end
local place = job.token == '' and place_behind_others()
if place then
  look_again(id, now + math.min(look_after + place / PLACES_A_SECOND, LONGEST_WAIT))
  return ''
end
redis.call('HSET', key, 'reap_operation', operation)
if job.token ~= '' then
  void_pages(id, 'worker-lost', false)
  count('leases_lost', 1)
  requeue(id, 'worker-lost', message, now + look_after)
else
  -- Still waiting its turn, or its message is lost: a second message does no harm, but must not pile up.
  local times = redis.call('HINCRBY', key, 'requeues', 1)
  requeue(id, 'message-lost', message, now + math.min(look_after * 2 ^ times, LONGEST_WAIT))
end
return 'requeued'
