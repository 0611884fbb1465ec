--[[
  The job is being read from now on. A claim starts its job once.

  Input:  id, token, engine (its name), reader (digest of what decides what it reads; '' where nobody says)
  Output: the attempt's number, from 1; 0 when the claim is lost

  Events: status; the webhook job.started
]]
--- @include clock
--- @include count
--- @include emit
--- @include fields
--- @include holds
--- @include observe
--- @include outbox

local id, token, engine, reader = unpack(ARGV)
local now, key = clock(), keys.job(id)
local job = fields(key, 'status', 'rank', 'started_token', 'attempt', 'created', 'reader')

if job.started_token == token then return tonumber(job.attempt) end
if not holds(id, token) then return 0 end
if job.status == 'queued' then count('running', 1) end
redis.call('HSET', key, 'status', 'processing', 'engine', engine, 'started_token', token)
local first = redis.call('HSETNX', key, 'started', now) == 1
if first then observe('queue', now - tonumber(job.created)) end
-- Pages that were read by two are nobody's result.
redis.call('HSET', key, 'reader', (first or job.reader == reader) and reader or '')
redis.call('ZREM', keys.waiting(job.rank), id)
local attempt = redis.call('HINCRBY', key, 'attempt', 1)
emit(id, 'status', { status = 'processing', attempt = attempt })
outbox(id, 'job.started', now)
return attempt
