--- @include fields

-- Whether this claim is the one that may work on the job.
local function holds(id, token)
  local job = fields(keys.job(id), 'token', 'status')
  return token ~= '' and job.token == token and not TERMINAL_STATUSES[job.status]
end
