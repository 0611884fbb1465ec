--- @include fields
--- @include outlive

-- Write down the webhook of a transition, if one is wanted. One webhook per job and event, whatever is repeated: its id
-- is made of both. It keeps the record as it is now, for its body; its endpoint is the receiver's origin, each owner's
-- apart.
local function outbox(id, event, now)
  local job = fields(keys.job(id), 'webhook_url', 'webhook_events', 'owner', 'result_ttl', 'webhook_ttl', 'request_id',
    'traceparent')
  if not job.webhook_url or job.webhook_url == '' then return end
  if not string.find(',' .. job.webhook_events .. ',', ',' .. event .. ',', 1, true) then return end
  local webhook_id = 'msg_' .. id .. '_' .. string.gsub(event, '^job%.', '')
  local webhook = keys.webhook(webhook_id)
  local kept = 2 * tonumber(job.result_ttl) + tonumber(job.webhook_ttl or 86400) -- no record of the version before has it
  if redis.call('HSETNX', webhook, 'job', id) == 0 then return end
  local origin = string.lower(string.match(job.webhook_url, '^[^:]+://[^/?#]+') or '')
  redis.call('HSET', webhook, 'event', event, 'url', job.webhook_url, 'created', now, 'tries', 0, 'takes', 0,
    'status', 'pending', 'owner', job.owner, 'endpoint', job.owner .. ' ' .. origin, 'keep', kept,
    'request_id', job.request_id or '', 'traceparent', job.traceparent or '',
    'record', cjson.encode(redis.call('HGETALL', keys.job(id))))
  redis.call('RPUSH', keys.webhooks_of_job(id), webhook_id)
  redis.call('EXPIRE', webhook, kept)
  outlive(webhook_id, 0)
  redis.call('EXPIRE', keys.webhooks_of_job(id), kept)
  redis.call('ZADD', keys.webhooks_due, now, webhook_id)
end
