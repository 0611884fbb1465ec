--- @include fields

-- What a submission is answered that is not the first: { 'ok', id } where this very one comes a second time, { 'replay' or
-- 'mismatch', the job it made } where its Idempotency-Key was used before, for the same or for something else; else nil.
local function replayed(id, owner, key, fingerprint)
  -- Its id is made for this one submission: a record, or the trace of one that was deleted, is its own.
  if redis.call('EXISTS', keys.job(id)) == 1 or redis.call('ZSCORE', keys.ended_jobs, owner .. ' ' .. id) then
    return { 'ok', id }
  end
  if key == '' then return nil end
  local earlier = fields(keys.idempotency(owner, key), 'id', 'fingerprint')
  return earlier.id and { earlier.fingerprint == fingerprint and 'replay' or 'mismatch', earlier.id } or nil
end

-- From now on the key, if there is one, stands for this job.
local function remember(owner, key, fingerprint, seconds, id)
  if key == '' then return end
  redis.call('HSET', keys.idempotency(owner, key), 'id', id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', keys.idempotency(owner, key), seconds)
end
