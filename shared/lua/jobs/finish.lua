--[[
  End the job by what its pages say.

  Input:  id, token
  Output: the job's last status | 'incomplete' when a page has no result | '' when the claim is lost

  Events: done
]]
--- @include clock
--- @include closed
--- @include end_job
--- @include fields
--- @include holds

local id, token = unpack(ARGV)

if not holds(id, token) then
  local status = closed(id, token)
  return TERMINAL_STATUSES[status] and status or ''
end
local key, now = keys.job(id), clock()
local job = fields(key, 'pages_total', 'pages_done', 'pages_failed', 'pages_degraded')
if job.pages_done + job.pages_failed < tonumber(job.pages_total) then return 'incomplete' end
redis.call('HSET', key, 'closed_token', token)
if tonumber(job.pages_done) == 0 then
  fail_job(id, 'no-page-read', 'No page of the document could be read', now)
  return 'failed'
end
local status = (tonumber(job.pages_failed) > 0 or tonumber(job.pages_degraded) > 0) and 'partial' or 'succeeded'
end_job(id, status, '', now)
return status
