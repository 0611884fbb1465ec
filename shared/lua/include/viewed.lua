--- @include count
--- @include fields
--- @include speed

-- A job as it is now, for `read_job`: view.lua says what is in it. As JSON, which Python reads faster than a reply of a
-- hundred strings.
local function viewed(id, now, with_summaries)
  local key = keys.job(id)
  local status = redis.call('HGET', key, 'status')
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
  local summaries = with_summaries and redis.call('HGETALL', keys.page_summaries(id)) or {}
  return cjson.encode({ redis.call('HGETALL', key), summaries, position, pages_ahead, tonumber(unfinished.pages or 0),
    tonumber(unfinished.running or 0), pages, tostring(reading), tostring(now) })
end
