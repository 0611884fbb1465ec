--- @include fields

-- Whether an Idempotency-Key was used before, and for the same: { 'replay' or 'mismatch', the job it made }; else nil.
local function replayed(owner, key, fingerprint)
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
