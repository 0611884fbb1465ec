--- @include clean_up
--- @include fields

-- Of a job that has just ended: when its result goes, and its record. While it is kept, one that succeeded stands for
-- what is submitted again (reuse.lua).
local function keep_result(id, now)
  local key = keys.job(id)
  local job = fields(key, 'status', 'owner', 'result_ttl', 'picture_ttl', 'payloads', 'source', 'content', 'reader')
  local ttl = tonumber(job.result_ttl)
  redis.call('HSET', key, 'expires', now + ttl)
  for _, kind in ipairs({ keys.pages, keys.page_summaries, keys.page_images, keys.figures, keys.page_payloads }) do
    redis.call('EXPIRE', kind(id), ttl)
  end
  if job.payloads == '1' then clean_up_payloads(id, job.source, now + ttl) end
  if (job.picture_ttl or '') ~= '' and tonumber(job.picture_ttl) < ttl then
    redis.call('EXPIRE', keys.page_images(id), job.picture_ttl)
    if job.payloads == '1' then clean_up(id, 'pictures', now + job.picture_ttl) end
  end
  if job.status == 'succeeded' and (job.content or '') ~= '' and (job.reader or '') ~= '' then
    local same = keys.same_content(job.owner, job.content, job.reader)
    redis.call('ZREMRANGEBYSCORE', same, '-inf', now)
    redis.call('ZADD', same, now + ttl, id)
    local last = redis.call('ZREVRANGE', same, 0, 0, 'WITHSCORES')
    redis.call('EXPIRE', same, math.ceil(last[2] - now))
  end
  -- The record outlives its result, so that a late caller is told 410 and not 404.
  redis.call('EXPIRE', key, 2 * ttl)
  redis.call('ZADD', keys.ended_jobs, now + 2 * ttl, (job.owner or '') .. ' ' .. id)
end
