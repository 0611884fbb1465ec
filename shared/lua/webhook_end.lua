-- ARGV: id, token, outcome delivered|failed|gone, status code or '', error or '', seconds it took,
--       seconds to the next try or '' for none, failures that open the breaker, seconds it stays open, most of them
-- -> the webhook's state | '' when it is no longer the caller's
local hid, key, outcome, t = ARGV[1], 'hook:' .. ARGV[1], ARGV[3], clock()
local f = redis.call('HMGET', key, 'takes', 'status', 'job', 'endpoint', 'owner', 'event', 'begun', 'keep')
if f[1] ~= ARGV[2] or f[2] ~= 'sending' then return '' end
local job, endpoint = f[3], f[4]

-- Failures in a row open it, longer each time; then one try at a time goes through until one succeeds.
local function breaker()
  local circuit = 'hooks:break:' .. endpoint
  if outcome ~= 'failed' then return redis.call('DEL', circuit) end
  local over = redis.call('HINCRBY', circuit, 'fails', 1) - tonumber(ARGV[8])
  if over >= 0 then
    redis.call('HSET', circuit, 'till', t + math.min(tonumber(ARGV[9]) * 2 ^ math.min(over, 20), tonumber(ARGV[10])))
  end
  redis.call('EXPIRE', circuit, DAY)
end

local code, err = tonumber(ARGV[4]) or cjson.null, ARGV[5]
if err == '' then err = cjson.null end
log_delivery(hid, job, f[8], { event = f[6], at = tonumber(f[7]), status_code = code, error = err, seconds = tonumber(ARGV[6]) })
breaker()
local status = outcome
if outcome == 'failed' then
  redis.call('HINCRBY', 'counters', 'hooks:failed', 1)
  status = ARGV[7] == '' and 'exhausted' or 'pending'
end
if status == 'pending' then
  local at = t + tonumber(ARGV[7])
  redis.call('HSET', key, 'status', status, 'next', at)
  redis.call('ZADD', 'hooks:due', at, hid)
  for _, kept in ipairs({ key, 'hooks:' .. job, 'dlv:' .. job }) do
    redis.call('EXPIRE', kept, math.ceil(at - t) + tonumber(f[8]))
  end
else
  close_hook(hid, job, status)
end
release(hid, endpoint, f[5], t)
return status
