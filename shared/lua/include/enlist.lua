-- The job is on its owner's list, which forgets jobs after `horizon` seconds, and in its batch.
local function enlist(id, owner, batch, now, horizon)
  redis.call('ZADD', keys.jobs_of_owner(owner), now, id)
  redis.call('ZREMRANGEBYSCORE', keys.jobs_of_owner(owner), '-inf', now - horizon)
  redis.call('EXPIRE', keys.jobs_of_owner(owner), math.ceil(horizon))
  if batch ~= '' then
    redis.call('RPUSH', keys.batch_jobs(batch), id)
    -- A gateway may die between two files of a batch: its list must not outlive the batch.
    redis.call('PEXPIRE', keys.batch_jobs(batch), math.max(1, redis.call('PTTL', keys.batch(batch))))
  end
end
