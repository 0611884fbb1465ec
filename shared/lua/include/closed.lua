--- @include fields

-- The job's status if this claim was the one that gave it up last (finish, fail, release), else false: then a step
-- that comes a second time, its first reply lost, has been done.
local function closed(id, token)
  local job = fields(keys.job(id), 'closed_token', 'status')
  return job.closed_token == token and job.status
end
