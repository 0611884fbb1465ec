--- @include end_job

-- True when the deadline or the greatest age ended the job just now.
local function overdue(id, now)
  local deadline, max_age, created = unpack(redis.call('HMGET', keys.job(id), 'deadline', 'max_age', 'created'))
  if deadline ~= '' and tonumber(deadline) <= now then
    fail_job(id, 'deadline-exceeded', 'The deadline passed before the job was done', now)
    return true
  end
  if created + max_age <= now then
    fail_job(id, 'job-expired', 'The job was not done within the greatest age of a job', now)
    return true
  end
  return false
end
