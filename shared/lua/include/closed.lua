-- The job's status if this claim was the one that gave it up last (finish, fail, release), else false: then a step
-- that comes a second time, its first reply lost, has been done.
local function closed(id, token)
  local closer, status = unpack(redis.call('HMGET', keys.job(id), 'closed_token', 'status'))
  return closer == token and status
end
