--[[
  Write down how a try ended, and set the next one if there is one.

  Input:
    id, token
    outcome           delivered, failed or gone
    status_code       the receiver's, or ''
    problem           in a few words, or ''
    seconds           it took
    wait              seconds to the next try, or '' for none
    breaker_failures  in a row that open the endpoint's circuit breaker
    breaker_seconds   it stays open at first, doubled each time, and at most
    breaker_most

  Output: the webhook's state; '' when it is no longer the caller's
]]
--- @include clock
--- @include close_webhook
--- @include count
--- @include fields
--- @include gates
--- @include log_delivery
--- @include observe
--- @include outlive

local id, token, outcome, status_code, problem, seconds, wait = unpack(ARGV, 1, 7)
local breaker_failures, breaker_seconds, breaker_most = unpack(ARGV, 8, 10)
local key, now = keys.webhook(id), clock()
local webhook = fields(key, 'takes', 'status', 'job', 'endpoint', 'owner', 'event', 'begun', 'keep', 'ended_token',
  'ended_status')

if webhook.ended_token == token then return webhook.ended_status end -- the second time
if webhook.takes ~= token or webhook.status ~= 'sending' then return '' end

-- Failures in a row open it, longer each time; then one try at a time goes through until one succeeds.
local function note_for_breaker(endpoint)
  local circuit = keys.circuit_breaker(endpoint)
  if outcome ~= 'failed' then return redis.call('DEL', circuit) end
  local over = redis.call('HINCRBY', circuit, 'fails', 1) - breaker_failures
  if over >= 0 then
    redis.call('HSET', circuit, 'till', now + math.min(breaker_seconds * 2 ^ math.min(over, 20), tonumber(breaker_most)))
  end
  redis.call('EXPIRE', circuit, DAY)
end

log_delivery(id, webhook.job, webhook.keep, {
  event = webhook.event, at = tonumber(webhook.begun), status_code = tonumber(status_code) or cjson.null,
  error = problem ~= '' and problem or cjson.null, seconds = tonumber(seconds),
})
note_for_breaker(webhook.endpoint)
observe('webhook', tonumber(seconds))
local status = outcome
if outcome == 'failed' then
  count(webhooks('failed'), 1)
  status = wait == '' and 'exhausted' or 'pending'
end
redis.call('HSET', key, 'ended_token', token, 'ended_status', status)
if status == 'pending' then
  local at = now + wait
  redis.call('HSET', key, 'status', status, 'next', at)
  redis.call('ZADD', keys.webhooks_due, at, id)
  for _, kept in ipairs({ key, keys.webhooks_of_job(webhook.job), keys.deliveries(webhook.job) }) do
    redis.call('EXPIRE', kept, math.ceil(at - now) + tonumber(webhook.keep))
  end
  outlive(id, at - now)
else
  close_webhook(id, webhook.job, status)
end
leave_gates(id, webhook.endpoint, webhook.owner, now)
return status
