--- @include count

-- The end of a webhook. Of a job that was deleted meanwhile nothing is kept.
local function close_webhook(id, job, status)
  count(webhooks(status), 1)
  redis.call('ZREM', keys.webhooks_due, id)
  redis.call('HSET', keys.webhook(id), 'status', status, 'next', '')
  redis.call('EXPIRE', keys.webhook(id), redis.call('HGET', keys.webhook(id), 'keep'))
  if redis.call('EXISTS', keys.job(job)) == 0 then
    redis.call('DEL', keys.webhook(id))
    redis.call('LREM', keys.webhooks_of_job(job), 0, id)
    if redis.call('EXISTS', keys.webhooks_of_job(job)) == 0 then redis.call('DEL', keys.deliveries(job)) end
  end
end
