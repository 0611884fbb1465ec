-- Write one delivery down in its job's list.
local function log_delivery(id, job, kept, entry)
  entry.webhook_id = id
  redis.call('RPUSH', keys.deliveries(job), cjson.encode(entry))
  redis.call('EXPIRE', keys.deliveries(job), kept)
end
