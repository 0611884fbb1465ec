--- @include end_job
--- @include fields

-- True when the deadline or the greatest age ended the job just now.
local function overdue(id, now)
  local job = fields(keys.job(id), 'deadline', 'max_age', 'created')
  if job.deadline ~= '' and tonumber(job.deadline) <= now then
    fail_job(id, 'deadline-exceeded', 'The deadline passed before the job was done', now)
    return true
  end
  if tonumber(job.created) + tonumber(job.max_age) <= now then
    fail_job(id, 'job-expired', 'The job was not done within the greatest age of a job', now)
    return true
  end
  return false
end
