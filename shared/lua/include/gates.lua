-- A gate is an endpoint or an owner. Whatever waits at a gate is let on as something behind that gate ends: one in
-- flight is always due too, at the end of its lease, so a sender's death stops no gate for longer than that.
local function gates(endpoint, owner)
  return { endpoint, 'owner ' .. owner }
end

-- Two for one that ended: so a gate that was narrow for a while comes back to its full width.
local function let_on(gate, now)
  local on = 0
  while on < 2 do
    local first = redis.call('ZPOPMIN', keys.webhooks_waiting(gate))
    if not first[1] then return end
    if redis.call('EXISTS', keys.webhook(first[1])) == 1 then
      redis.call('ZADD', keys.webhooks_due, now, first[1])
      on = on + 1
    end
  end
end

-- The webhook is no longer in flight.
local function leave_gates(id, endpoint, owner, now)
  redis.call('SREM', keys.webhooks_leased, id)
  for _, gate in ipairs(gates(endpoint, owner)) do
    redis.call('SREM', keys.webhooks_at_gate(gate), id)
    let_on(gate, now)
  end
end
