--[[
  Give a job that waits another priority. Its former message stays where it is: a second one does no harm.

  Input:
    id
    rank       of the new priority's queue
    priority   its name, for the options in the record
    message    for the queue

  Output: 1 it has that priority; 0 it does not wait (any more), or there is none
]]
--- @include count
--- @include fields
--- @include push

local id, rank, priority, message = unpack(ARGV)
local key = keys.job(id)
local job = fields(key, 'status', 'rank', 'created', 'options', 'pages_total', 'pages_done', 'pages_failed')

if job.status ~= 'queued' then return 0 end
if job.rank == rank then return 1 end
local left = job.pages_total - job.pages_done - job.pages_failed
count(finished_pages(job.rank), left)
local before = count(submitted_pages(rank), left) - left
local options = string.gsub(job.options, '"priority":%s*"%l+"', '"priority":"' .. priority .. '"', 1)
redis.call('HSET', key, 'rank', rank, 'options', options, 'pages_submitted_before', before, 'before', before)
redis.call('ZREM', keys.waiting(job.rank), id)
redis.call('ZADD', keys.waiting(rank), job.created, id)
push(rank, message, false)
return 1
