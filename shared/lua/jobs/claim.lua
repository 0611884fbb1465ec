--[[
  Claim a job: from now on only who shows this token may work on it, while the lease is renewed.

  Input:
    id
    token           made for this one claim
    worker          the worker's name
    lease_seconds

  Output:
    { 'gone' }   there is no such job
    { 'done' }   it has ended
    { 'busy' }   another claim's lease still runs
    { 'ok', JSON: [record, pages that have ended, page -> times begun] }, each a list, {} where there is nothing

  Events: page.restarted for what a dead worker had begun; done, when it was overdue
]]
--- @include clock
--- @include fields
--- @include look_again
--- @include overdue
--- @include void_pages

local REMEMBERED = 720 -- characters: the tokens of about twenty claims

local id, token, worker, lease_seconds = unpack(ARGV)
local now, key = clock(), keys.job(id)
local job = fields(key, 'status', 'lease', 'token', 'claim_tokens')

local function claimed()
  return { 'ok', cjson.encode({ redis.call('HGETALL', key), redis.call('HKEYS', keys.page_summaries(id)),
    redis.call('HGETALL', keys.page_starts(id)) }) }
end

if not job.status then return { 'gone' } end
if TERMINAL_STATUSES[job.status] then return { 'done' } end
local earlier = job.claim_tokens or ' '
if string.find(earlier, ' ' .. token .. ' ', 1, true) then return claimed() end -- the second time, or given up since
if job.token ~= '' and tonumber(job.lease) > now then return { 'busy' } end
if overdue(id, now) then return { 'done' } end
if redis.call('EXISTS', keys.upload(id)) == 0 then
  fail_job(id, 'upload-expired', 'The upload is no longer in the store', now)
  return { 'done' }
end
void_pages(id, 'worker-lost', false)
redis.call('DEL', keys.page_operations(id))
redis.call('HSET', key, 'token', token, 'lease', now + lease_seconds, 'worker', worker, 'streamed', 0,
  'claim_tokens', string.sub(earlier .. token .. ' ', -REMEMBERED))
look_again(id, now + lease_seconds)
return claimed()
