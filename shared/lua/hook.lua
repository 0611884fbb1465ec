-- What the scripts hook_*.lua share. A webhook is in one of these states:
--
--   pending -> leased -> sending -> delivered | gone | exhausted, or pending again until its next try
--
--   hooks:due zset id -> next try, or the end of its lease        dlv:ID list of the job's deliveries, one JSON each
--   hooks:leased set of ids: all in flight                       hooks:at:GATE set of ids in flight behind a gate
--   hooks:wait:GATE zset id -> since: due, but the gate is full   hooks:break:ENDPOINT {fails, till}
--
-- A gate is an endpoint or an owner. Whatever waits at a gate is let on as something behind that gate ends: one in
-- flight is always in hooks:due too, at the end of its lease, so a sender's death stops no gate for longer than that.

local DAY = 86400

local function gates(endpoint, owner)
  return { endpoint, 'owner ' .. owner }
end

-- Two for one that ended: so a gate that was narrow for a while comes back to its full width.
local function let_on(gate, t)
  local on = 0
  while on < 2 do
    local first = redis.call('ZPOPMIN', 'hooks:wait:' .. gate)
    if not first[1] then return end
    if redis.call('EXISTS', 'hook:' .. first[1]) == 1 then
      redis.call('ZADD', 'hooks:due', t, first[1])
      on = on + 1
    end
  end
end

local function release(hid, endpoint, owner, t)
  redis.call('SREM', 'hooks:leased', hid)
  for _, gate in ipairs(gates(endpoint, owner)) do
    redis.call('SREM', 'hooks:at:' .. gate, hid)
    let_on(gate, t)
  end
end

local function log_delivery(hid, job, keep, entry)
  entry.webhook_id = hid
  redis.call('RPUSH', 'dlv:' .. job, cjson.encode(entry))
  redis.call('EXPIRE', 'dlv:' .. job, keep)
end

-- The end of a webhook. Of a job that was deleted meanwhile nothing is kept.
local function close_hook(hid, job, status)
  redis.call('HINCRBY', 'counters', 'hooks:' .. status, 1)
  redis.call('ZREM', 'hooks:due', hid)
  redis.call('HSET', 'hook:' .. hid, 'status', status, 'next', '')
  if redis.call('EXISTS', 'job:' .. job) == 0 then
    redis.call('DEL', 'hook:' .. hid)
    redis.call('LREM', 'hooks:' .. job, 0, hid)
    if redis.call('EXISTS', 'hooks:' .. job) == 0 then redis.call('DEL', 'dlv:' .. job) end
  end
end
