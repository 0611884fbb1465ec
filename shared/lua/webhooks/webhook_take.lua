--[[
  Lease webhooks that are due and may go now.

  Input:
    most                how many at most
    lease_seconds
    most_in_flight      of all senders together
    most_of_endpoint    in flight to one receiver
    most_of_owner       in flight of one owner
    tries               there are in the schedule
    operation           names this call: a call that comes a second time gets the first one's answer

  Output: { id, token, id, token, ... }
]]
--- @include clock
--- @include close_webhook
--- @include fields
--- @include gates
--- @include log_delivery
--- @include outlive

local REMEMBERED_SECONDS = 60

local most, lease_seconds, most_in_flight, most_of_endpoint, most_of_owner, tries = unpack(ARGV, 1, 6)
local operation = ARGV[7]
local limits = { tonumber(most_of_endpoint), tonumber(most_of_owner) }
local now, taken = clock(), {}

-- Its sender died with it: the try counts, for the receiver may have been reached.
local function sender_lost(id, webhook)
  if webhook.status ~= 'sending' then return false end
  log_delivery(id, webhook.job, webhook.keep,
    { event = webhook.event, at = tonumber(webhook.begun), status_code = cjson.null, error = 'sender-lost' })
  if tonumber(webhook.tries) < tonumber(tries) then return false end
  close_webhook(id, webhook.job, 'exhausted')
  return true
end

local function open_until(endpoint)
  return tonumber(redis.call('HGET', keys.circuit_breaker(endpoint), 'till') or 0)
end

-- A gate that lets no more through, if there is one. One try at a time probes an endpoint whose breaker was open.
local function full_gate(id, endpoint, owner)
  local probing = open_until(endpoint) > 0
  for i, gate in ipairs(gates(endpoint, owner)) do
    local key, limit = keys.webhooks_at_gate(gate), (i == 1 and probing) and 1 or limits[i]
    if redis.call('SISMEMBER', key, id) == 0 and redis.call('SCARD', key) >= limit then return gate end
  end
end

local function take(id, endpoint, owner)
  redis.call('SADD', keys.webhooks_leased, id)
  for _, gate in ipairs(gates(endpoint, owner)) do
    redis.call('SADD', keys.webhooks_at_gate(gate), id)
    redis.call('EXPIRE', keys.webhooks_at_gate(gate), DAY)
  end
  redis.call('ZADD', keys.webhooks_due, now + lease_seconds, id)
  redis.call('HSET', keys.webhook(id), 'status', 'leased')
  outlive(id, lease_seconds)
  table.insert(taken, id)
  table.insert(taken, redis.call('HINCRBY', keys.webhook(id), 'takes', 1))
end

local function look_at(id)
  local webhook = fields(keys.webhook(id), 'job', 'endpoint', 'status', 'tries', 'event', 'begun', 'keep', 'owner')
  if not webhook.job then
    redis.call('ZREM', keys.webhooks_due, id)
    redis.call('SREM', keys.webhooks_leased, id)
    return
  end
  if sender_lost(id, webhook) then return leave_gates(id, webhook.endpoint, webhook.owner, now) end
  local till = open_until(webhook.endpoint)
  if till > now then
    redis.call('HSET', keys.webhook(id), 'status', 'pending')
    redis.call('ZADD', keys.webhooks_due, till, id)
    outlive(id, till - now)
    if webhook.status ~= 'pending' then leave_gates(id, webhook.endpoint, webhook.owner, now) end
    return
  end
  local gate = full_gate(id, webhook.endpoint, webhook.owner)
  if gate then
    redis.call('ZREM', keys.webhooks_due, id)
    redis.call('ZADD', keys.webhooks_waiting(gate), now, id)
    outlive(id, 0)
  else
    take(id, webhook.endpoint, webhook.owner)
  end
end

local answered = redis.call('GET', keys.webhooks_taken(operation))
if answered then return cjson.decode(answered) end

-- First what dead senders held: they may be all there is room for, and older webhooks may stand before them.
for _, id in ipairs(redis.call('SMEMBERS', keys.webhooks_leased)) do
  if tonumber(redis.call('ZSCORE', keys.webhooks_due, id) or 0) <= now then look_at(id) end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', keys.webhooks_due, '-inf', now, 'LIMIT', 0, most)) do
  if redis.call('SCARD', keys.webhooks_leased) >= tonumber(most_in_flight) then break end
  look_at(id)
end
if #taken > 0 then
  redis.call('SET', keys.webhooks_taken(operation), cjson.encode(taken), 'EX', REMEMBERED_SECONDS)
end
return taken
