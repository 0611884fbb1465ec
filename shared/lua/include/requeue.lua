--- @include count
--- @include emit
--- @include fields
--- @include look_again
--- @include push

-- The job is queued again, at the front; the reaper looks at it at `look_at`.
local function requeue(id, reason, message, look_at)
  local job = fields(keys.job(id), 'rank', 'status', 'created')
  if job.status == 'processing' then
    count('running', -1)
    redis.call('ZADD', keys.waiting(job.rank), job.created, id)
    emit(id, 'status', { status = 'queued', reason = reason })
  end
  redis.call('HSET', keys.job(id), 'status', 'queued', 'token', '', 'lease', 0)
  push(job.rank, message, true)
  look_again(id, look_at)
end
