--[[
  Forget a job, its upload and its result; cancel it first if it has not ended.

  Input:  id
  Output: 1: it is forgotten, or there was none

  Events: done, and it stays a little, so that whoever follows the job at this moment reads it; the text before it goes
]]
--- @include clean_up
--- @include clock
--- @include end_job
--- @include fields

local DONE_SECONDS = 10 -- longer than the pause between two reads of a follower
local TRACE_SECONDS = 600 -- how long a late repetition of its submission is still known to be one

local id = unpack(ARGV)
local job = fields(keys.job(id), 'status', 'owner', 'payloads', 'source', 'content', 'reader')

if not job.status then return 1 end
if not TERMINAL_STATUSES[job.status] then end_job(id, 'cancelled', '', clock()) end
for _, kind in ipairs({ keys.job, keys.pages, keys.page_summaries, keys.page_images, keys.figures,
  keys.page_payloads }) do
  redis.call('DEL', kind(id))
end
redis.call('XTRIM', keys.events(id), 'MAXLEN', 1)
redis.call('EXPIRE', keys.events(id), DONE_SECONDS)
redis.call('ZREM', keys.cleanups, 'events ' .. id, 'pictures ' .. id)
if job.payloads == '1' then clean_up_payloads(id, job.source, clock()) end
redis.call('ZREM', keys.same_content(job.owner, job.content or '', job.reader or ''), id)
redis.call('ZREM', keys.jobs_of_owner(job.owner), id)
redis.call('ZADD', keys.ended_jobs, clock() + TRACE_SECONDS, job.owner .. ' ' .. id)
return 1
