-- ARGV: most, lease seconds, most in flight, most per endpoint, most per owner, tries there are
-- -> {id, token, id, token, ...}: due now, leased to the caller
local most, lease, tries = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[6])
local limits = { tonumber(ARGV[4]), tonumber(ARGV[5]) }
local t = clock()
local taken = {}

-- Its sender died with it: the try counts, for the receiver may have been reached.
local function lost(hid, f)
  if f[3] ~= 'sending' then return false end
  log_delivery(hid, f[1], f[7], { event = f[5], at = tonumber(f[6]), status_code = cjson.null, error = 'sender-lost' })
  if tonumber(f[4]) < tries then return false end
  close_hook(hid, f[1], 'exhausted')
  return true
end

-- A gate that lets no more through, if there is one.
local function full_gate(hid, endpoint, owner)
  local probing = tonumber(redis.call('HGET', 'hooks:break:' .. endpoint, 'till') or 0) > 0
  for i, gate in ipairs(gates(endpoint, owner)) do
    local key, limit = 'hooks:at:' .. gate, (i == 1 and probing) and 1 or limits[i]
    if redis.call('SISMEMBER', key, hid) == 0 and redis.call('SCARD', key) >= limit then return gate end
  end
end

local function take(hid, endpoint, owner)
  redis.call('SADD', 'hooks:leased', hid)
  for _, gate in ipairs(gates(endpoint, owner)) do
    redis.call('SADD', 'hooks:at:' .. gate, hid)
    redis.call('EXPIRE', 'hooks:at:' .. gate, DAY)
  end
  redis.call('ZADD', 'hooks:due', t + lease, hid)
  redis.call('HSET', 'hook:' .. hid, 'status', 'leased')
  table.insert(taken, hid)
  table.insert(taken, redis.call('HINCRBY', 'hook:' .. hid, 'takes', 1))
end

local function look_at(hid)
  local f = redis.call('HMGET', 'hook:' .. hid, 'job', 'endpoint', 'status', 'tries', 'event', 'begun', 'keep', 'owner')
  if not f[1] then
    redis.call('ZREM', 'hooks:due', hid)
    redis.call('SREM', 'hooks:leased', hid)
    return
  end
  if lost(hid, f) then return release(hid, f[2], f[8], t) end
  local till = tonumber(redis.call('HGET', 'hooks:break:' .. f[2], 'till') or 0)
  if till > t then
    redis.call('HSET', 'hook:' .. hid, 'status', 'pending')
    redis.call('ZADD', 'hooks:due', till, hid)
    if f[3] ~= 'pending' then release(hid, f[2], f[8], t) end
    return
  end
  local gate = full_gate(hid, f[2], f[8])
  if gate then
    redis.call('ZREM', 'hooks:due', hid)
    redis.call('ZADD', 'hooks:wait:' .. gate, t, hid)
  else
    take(hid, f[2], f[8])
  end
end

-- First what dead senders held: they may be all there is room for, and older webhooks may stand before them.
for _, hid in ipairs(redis.call('SMEMBERS', 'hooks:leased')) do
  if tonumber(redis.call('ZSCORE', 'hooks:due', hid) or 0) <= t then look_at(hid) end
end
for _, hid in ipairs(redis.call('ZRANGEBYSCORE', 'hooks:due', '-inf', t, 'LIMIT', 0, most)) do
  if redis.call('SCARD', 'hooks:leased') >= tonumber(ARGV[3]) then break end
  look_at(hid)
end
return taken
