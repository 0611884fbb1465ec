--[[
  Look at a job; end it if its deadline passed.

  Input:
    id
    with_summaries   '1': with what became of every page

  Output:
    {}  there is none
    { record, summaries, position, pages ahead, pages unfinished, jobs running, pages of the last minute, the seconds
      they were read in, now }

  Events: done, when it was overdue
]]
--- @include clock
--- @include count
--- @include fields
--- @include overdue
--- @include speed

local id, with_summaries = unpack(ARGV)
local now, key = clock(), keys.job(id)

local status = redis.call('HGET', key, 'status')
if not status then return {} end
if not TERMINAL_STATUSES[status] then
  overdue(id, now)
  status = redis.call('HGET', key, 'status')
end

local position, pages_ahead = 0, 0
if status == 'queued' then
  local job = fields(key, 'rank', 'pages_submitted_before', 'before')
  local before = job.pages_submitted_before or job.before -- the latter where the version before took it in
  position = redis.call('ZRANK', keys.waiting(job.rank), id) or 0
  local finished = redis.call('HGET', keys.counters, finished_pages(job.rank))
  pages_ahead = math.max(0, tonumber(before) - tonumber(finished or 0))
  for _, rank in ipairs(RANKS) do
    if tonumber(rank) < tonumber(job.rank) then
      position = position + redis.call('ZCARD', keys.waiting(rank))
      local sums = redis.call('HMGET', keys.counters, submitted_pages(rank), finished_pages(rank))
      pages_ahead = pages_ahead + tonumber(sums[1] or 0) - tonumber(sums[2] or 0)
    end
  end
  position = position + 1
end

local unfinished = fields(keys.counters, 'pages', 'running')
local pages, reading = speed(now)
local summaries = with_summaries == '1' and redis.call('HGETALL', keys.page_summaries(id)) or {}
return { redis.call('HGETALL', key), summaries, position, pages_ahead, tonumber(unfinished.pages or 0),
  tonumber(unfinished.running or 0), pages, tostring(reading), tostring(now) }
