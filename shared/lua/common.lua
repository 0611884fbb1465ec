-- The one state machine of a job. Every script below is this file plus its own.
--
--   queued -> processing -> succeeded | partial | failed | cancelled
--
-- Keys (not for Redis Cluster, which Celery's transport does not support either):
--   job:ID hash, the record          in:ID the upload's bytes         ev:ID stream of events
--   pages:ID n -> result JSON        marks:ID n -> summary JSON       img:ID n -> page picture    fig:ID name -> JPEG
--   starts:ID n -> times begun       flight:ID n -> being read since
--   open zset id -> next check       waiting:RANK zset id -> order    counters hash               jobs:OWNER zset
--   hook:HID hash, hooks:ID list, hooks:due zset (more in hook.lua)
--   rate:N pages ended in ten seconds, rate:busy:N seconds in which any page was read for them, rate:last when one ended

local STREAM_LENGTH = 2000
-- Ended jobs by when their record expires: 'OWNER ID'. Swept, so that the owners' lists do not outgrow the records.
local ENDED = 'jobs:/ended'

local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

-- Seconds as text; Lua's own would drop what is below ten milliseconds.
local function stamp(t)
  return string.format('%.6f', t)
end

local function emit(id, event, data)
  redis.call('XADD', 'ev:' .. id, 'MAXLEN', '~', STREAM_LENGTH, '*', 'event', event, 'data', cjson.encode(data))
end

-- Pages that ended in the last minute, and the seconds in which they were read.
local function speed(t)
  local pages, busy, bucket = 0, 0, math.floor(t / 10)
  for i = bucket - 6, bucket do
    local found = redis.call('MGET', 'rate:' .. i, 'rate:busy:' .. i)
    pages, busy = pages + tonumber(found[1] or 0), busy + tonumber(found[2] or 0)
  end
  return pages, busy
end

local function terminal(status)
  return status == 'succeeded' or status == 'partial' or status == 'failed' or status == 'cancelled'
end

local function push(rank, message, front)
  local queue = 'ocr'
  if rank ~= '0' then queue = 'ocr\6\22' .. rank end
  redis.call(front and 'RPUSH' or 'LPUSH', queue, message)
end

-- One webhook per job and event, whatever is repeated: the id is the job's and the event's. It keeps the record as it
-- is now, for its body; its endpoint is the receiver's origin, each owner's apart.
local function outbox(id, event, t)
  local f = redis.call('HMGET', 'job:' .. id, 'webhook_url', 'webhook_events', 'owner', 'result_ttl')
  if not f[1] or f[1] == '' then return end
  if not string.find(',' .. f[2] .. ',', ',' .. event .. ',', 1, true) then return end
  local hid = 'msg_' .. id .. '_' .. string.gsub(event, '^job%.', '')
  local key, keep = 'hook:' .. hid, 2 * tonumber(f[4]) + 86400
  if redis.call('HSETNX', key, 'job', id) == 0 then return end
  local origin = string.lower(string.match(f[1], '^[^:]+://[^/?#]+') or '')
  redis.call('HSET', key, 'event', event, 'url', f[1], 'created', t, 'tries', 0, 'takes', 0, 'status', 'pending',
    'owner', f[3], 'endpoint', f[3] .. ' ' .. origin, 'keep', keep,
    'record', cjson.encode(redis.call('HGETALL', 'job:' .. id)))
  redis.call('RPUSH', 'hooks:' .. id, hid)
  redis.call('EXPIRE', key, keep)
  redis.call('EXPIRE', 'hooks:' .. id, keep)
  redis.call('ZADD', 'hooks:due', t, hid)
end

local function running(step)
  redis.call('HINCRBY', 'counters', 'running', step)
end

-- The only way a job ends: record, counters, upload, event, webhook and expiry in one step.
local function end_job(id, status, err, t)
  local key = 'job:' .. id
  local f = redis.call('HMGET', key, 'pages_total', 'pages_done', 'pages_failed', 'bytes', 'rank', 'result_ttl', 'status',
    'owner')
  local left = tonumber(f[1]) - tonumber(f[2]) - tonumber(f[3])
  local ttl = tonumber(f[6])
  if f[7] == 'processing' then running(-1) end
  redis.call('HSET', key, 'status', status, 'completed', t, 'expires', t + ttl, 'token', '', 'lease', 0, 'error', err)
  redis.call('HINCRBY', 'counters', 'jobs', -1)
  redis.call('HINCRBY', 'counters', 'bytes', -tonumber(f[4]))
  if left ~= 0 then
    redis.call('HINCRBY', 'counters', 'pages', -left)
    redis.call('HINCRBY', 'counters', 'fin:' .. f[5], left)
  end
  redis.call('HINCRBY', 'counters', 'ended:' .. status, 1)
  redis.call('DEL', 'in:' .. id, 'starts:' .. id, 'flight:' .. id)
  redis.call('ZREM', 'open', id)
  redis.call('ZREM', 'waiting:' .. f[5], id)
  local event = { status = status, error = cjson.null }
  if err ~= '' then event.error = cjson.decode(err) end
  emit(id, 'done', event)
  outbox(id, 'job.' .. status, t)
  for _, kind in ipairs({ 'pages:', 'marks:', 'img:', 'fig:', 'ev:' }) do redis.call('EXPIRE', kind .. id, ttl) end
  -- The record outlives its result, so that a late caller is told 410 and not 404.
  redis.call('EXPIRE', key, 2 * ttl)
  redis.call('ZADD', ENDED, t + 2 * ttl, (f[8] or '') .. ' ' .. id)
end

local function fail_job(id, code, detail, t)
  end_job(id, 'failed', cjson.encode({ code = code, detail = detail }), t)
end

-- True when the deadline or the greatest age ended the job just now.
local function overdue(id, t)
  local f = redis.call('HMGET', 'job:' .. id, 'deadline', 'max_age', 'created')
  if f[1] ~= '' and tonumber(f[1]) <= t then
    fail_job(id, 'deadline-exceeded', 'The deadline passed before the job was done', t)
    return true
  end
  if tonumber(f[3]) + tonumber(f[2]) <= t then
    fail_job(id, 'job-expired', 'The job was not done within the greatest age of a job', t)
    return true
  end
  return false
end

-- When the reaper has to look at the job again: at `at`, or earlier if its deadline comes first.
local function check_at(id, at)
  local deadline = redis.call('HGET', 'job:' .. id, 'deadline')
  if deadline and deadline ~= '' then at = math.min(at, tonumber(deadline)) end
  redis.call('ZADD', 'open', at, id)
end

-- What the pages in flight streamed so far is void: their reader is gone.
local function void_flight(id, reason, forgive)
  for _, n in ipairs(redis.call('HKEYS', 'flight:' .. id)) do
    if forgive then redis.call('HINCRBY', 'starts:' .. id, n, -1) end
    emit(id, 'page.restarted', { page = tonumber(n), reason = reason })
  end
  redis.call('DEL', 'flight:' .. id)
end

local function requeue(id, reason, message, at, t)
  local f = redis.call('HMGET', 'job:' .. id, 'rank', 'status', 'created')
  if f[2] == 'processing' then
    running(-1)
    redis.call('ZADD', 'waiting:' .. f[1], f[3], id)
    emit(id, 'status', { status = 'queued', reason = reason })
  end
  redis.call('HSET', 'job:' .. id, 'status', 'queued', 'token', '', 'lease', 0)
  push(f[1], message, true)
  check_at(id, at)
end

local function holds(id, token)
  local f = redis.call('HMGET', 'job:' .. id, 'token', 'status')
  return token ~= '' and f[1] == token and not terminal(f[2])
end
