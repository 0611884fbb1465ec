-- Whether this claim is the one that may work on the job. Asked by every step: hence without a table of fields.
local function holds(id, token)
  local holder, status = unpack(redis.call('HMGET', keys.job(id), 'token', 'status'))
  return token ~= '' and holder == token and not TERMINAL_STATUSES[status]
end
