--[[
  Compare the counters with what an auditor has summed up from the records, and mend those that are wrong.

  Input:
    worker, operation   who audits, and the name of this call; it takes the auditor's place in the lock
    seen                JSON: all counters as they were before the records were read
    pages, bytes        of the unfinished jobs, summed up
    pages_of_rank       JSON: rank -> pages of its unfinished jobs
    misfiled            JSON: ids of jobs that are among those that wait, or are unfinished, and should not be, or the
                        reverse; they are put where they belong, and then the sums have to be taken again
    before              JSON: id -> its right pages_submitted_before

  Output:
    { 'mended', counter, by how much, ... }   also when it comes a second time, and then without counters
    { 'moved' }  something has changed since: the sums say nothing
    { 'lost' }   another worker audits
]]
--- @include clock
--- @include count
--- @include fields

local worker, operation, seen, pages, bytes = unpack(ARGV, 1, 5)
local pages_of_rank, misfiled, before = cjson.decode(ARGV[6]), cjson.decode(ARGV[7]), cjson.decode(ARGV[8])

local holder = redis.call('GET', keys.audit)
if holder == operation then return { 'mended' } end
if holder ~= worker then return { 'lost' } end
for counter, value in pairs(cjson.decode(seen)) do
  if tonumber(redis.call('HGET', keys.counters, counter) or 0) ~= value then return { 'moved' } end
end

if #misfiled > 0 then
  local moved = 0
  for _, id in ipairs(misfiled) do
    local job = fields(keys.job(id), 'status', 'rank', 'created')
    if job.status and not TERMINAL_STATUSES[job.status] then
      moved = moved + redis.call('ZADD', keys.next_check, 'NX', clock(), id)
    else
      moved = moved + redis.call('ZREM', keys.next_check, id)
    end
    for _, rank in ipairs(RANKS) do
      if job.status == 'queued' and job.rank == rank then
        moved = moved + redis.call('ZADD', keys.waiting(rank), job.created, id)
      else
        moved = moved + redis.call('ZREM', keys.waiting(rank), id)
      end
    end
  end
  if moved > 0 then count(drift('waiting'), moved) end
  return { 'moved' }
end

local mended = { 'mended' }
local function mend(counter, right)
  local by = right - tonumber(redis.call('HGET', keys.counters, counter) or 0)
  if by ~= 0 then
    count(counter, by)
    count(drift(counter), math.abs(by))
    mended[#mended + 1], mended[#mended + 2] = counter, by
  end
end

local unfinished = redis.call('ZCARD', keys.next_check)
local running = unfinished
for _, rank in ipairs(RANKS) do running = running - redis.call('ZCARD', keys.waiting(rank)) end
mend('jobs', unfinished)
mend('running', running)
mend('pages', tonumber(pages))
mend('bytes', tonumber(bytes))
for rank, open in pairs(pages_of_rank) do
  mend(finished_pages(rank), tonumber(redis.call('HGET', keys.counters, submitted_pages(rank)) or 0) - open)
end
for id, right in pairs(before) do
  redis.call('HSET', keys.job(id), 'pages_submitted_before', right, 'before', right)
end
count('audits', 1)
redis.call('SET', keys.audit, operation, 'KEEPTTL')
return mended
