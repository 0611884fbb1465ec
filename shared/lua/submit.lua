-- ARGV: id, upload, message, pages, bytes, rank, owner, idem key or '', fingerprint, idem ttl, batch or '',
--       most jobs, most pages, most bytes, requeue after, deadline seconds or '', index horizon, pages of the owner a day or '',
--       then field, value, ...
-- -> {'ok', id} | {'replay', id} | {'mismatch', id} | {'full', what} | {'quota', seconds left of the day}
local id, rank, pages, bytes = ARGV[1], ARGV[6], tonumber(ARGV[4]), tonumber(ARGV[5])
local t = clock()
local idem = 'idem:' .. ARGV[7] .. ':' .. ARGV[8]
if ARGV[8] ~= '' then
  local old = redis.call('HMGET', idem, 'id', 'fingerprint')
  if old[1] then return { old[2] == ARGV[9] and 'replay' or 'mismatch', old[1] } end
end
local open = redis.call('HMGET', 'counters', 'jobs', 'pages', 'bytes')
local function over(i, more) return tonumber(open[i] or 0) + more > tonumber(ARGV[11 + i]) end
if over(1, 1) then return { 'full', 'jobs' } end
if over(2, pages) then return { 'full', 'pages' } end
if over(3, bytes) then return { 'full', 'bytes' } end
if ARGV[18] ~= '' then
  local today = math.floor(t / 86400)
  local quota = 'quota:' .. ARGV[7] .. ':' .. today
  if tonumber(redis.call('GET', quota) or 0) + pages > tonumber(ARGV[18]) then
    return { 'quota', tostring(math.ceil((today + 1) * 86400 - t)) }
  end
  redis.call('INCRBY', quota, pages)
  redis.call('EXPIRE', quota, 2 * 86400)
end
if ARGV[8] ~= '' then
  redis.call('HSET', idem, 'id', id, 'fingerprint', ARGV[9])
  redis.call('EXPIRE', idem, ARGV[10])
end
redis.call('HSET', 'job:' .. id, unpack(ARGV, 19))
local deadline = ''
if ARGV[16] ~= '' then deadline = t + tonumber(ARGV[16]) end
local before = redis.call('HINCRBY', 'counters', 'sub:' .. rank, pages) - pages
redis.call('HSET', 'job:' .. id, 'id', id, 'owner', ARGV[7], 'status', 'queued', 'created', t, 'deadline', deadline,
  'rank', rank, 'bytes', bytes, 'pages_total', pages, 'pages_done', 0, 'pages_failed', 0, 'pages_degraded', 0,
  'attempt', 0, 'requeues', 0, 'token', '', 'lease', 0, 'before', before, 'error', '', 'batch', ARGV[11])
redis.call('SET', 'in:' .. id, ARGV[2])
redis.call('HINCRBY', 'counters', 'jobs', 1)
redis.call('HINCRBY', 'counters', 'pages', pages)
redis.call('HINCRBY', 'counters', 'bytes', bytes)
redis.call('HINCRBY', 'counters', 'submitted', 1)
redis.call('ZADD', 'waiting:' .. rank, t, id)
redis.call('ZADD', 'jobs:' .. ARGV[7], t, id)
redis.call('ZREMRANGEBYSCORE', 'jobs:' .. ARGV[7], '-inf', t - tonumber(ARGV[17]))
redis.call('EXPIRE', 'jobs:' .. ARGV[7], math.ceil(tonumber(ARGV[17])))
if ARGV[11] ~= '' then
  local batch = 'batch:' .. ARGV[11]
  redis.call('RPUSH', batch .. ':jobs', id)
  -- A gateway may die between two files of a batch: its list must not outlive the batch.
  redis.call('PEXPIRE', batch .. ':jobs', math.max(1, redis.call('PTTL', batch)))
end
emit(id, 'status', { status = 'queued' })
push(rank, ARGV[3], false)
check_at(id, t + tonumber(ARGV[15]))
return { 'ok', id }
