--[[
  Take a job in: limits, idempotency, record, upload, message and first event, all or nothing.

  Input:
    id, upload, message       the job's id, its bytes, its message for Celery
    pages, bytes              how many
    rank                      of its queue: 0, 3 or 6
    owner                     whose job it is
    idempotency_key           or '', with the fingerprint of what it stands for and the seconds it is kept
    batch                     id, or ''
    most_jobs, most_pages, most_bytes   that may be unfinished
    look_after                seconds until a reaper looks at it
    deadline                  seconds, or ''
    horizon                   seconds after which the owner's list forgets a job
    page_quota                pages the owner may submit in a day, or ''
    field, value, ...         what the submission itself says, into the record

  Output:
    { 'ok', id, view }  taken in; view: as of view.lua, with every page
    { 'ok', id }        when it comes a second time with this id, and then it changes nothing
    { 'replay', id }    the key was used before, for the same: this is that job
    { 'mismatch', id }  the key was used before, for something else
    { 'full', what }    jobs, pages or bytes
    { 'quota', seconds } the owner's pages are used up for so long

  Events: status
]]
--- @include clock
--- @include count
--- @include emit
--- @include enlist
--- @include fields
--- @include look_again
--- @include push
--- @include replayed
--- @include use
--- @include viewed

local id, upload, message, pages, bytes, rank, owner = unpack(ARGV, 1, 7)
local idempotency_key, fingerprint, idempotency_ttl, batch = unpack(ARGV, 8, 11)
local most_jobs, most_pages, most_bytes, look_after, deadline, horizon, page_quota = unpack(ARGV, 12, 18)
local FIRST_FIELD = 19
local now, key = clock(), keys.job(id)

local earlier = replayed(id, owner, idempotency_key, fingerprint)
if earlier then return earlier end

local unfinished = fields(keys.counters, 'jobs', 'pages', 'bytes')
local function beyond(counter, more, most)
  return tonumber(unfinished[counter] or 0) + tonumber(more) > tonumber(most)
end
if beyond('jobs', 1, most_jobs) then return { 'full', 'jobs' } end
if beyond('pages', pages, most_pages) then return { 'full', 'pages' } end
if beyond('bytes', bytes, most_bytes) then return { 'full', 'bytes' } end

if page_quota ~= '' then
  local today = math.floor(now / 86400)
  local used = keys.page_quota(owner, today)
  if tonumber(redis.call('GET', used) or 0) + pages > tonumber(page_quota) then
    return { 'quota', tostring(math.ceil((today + 1) * 86400 - now)) }
  end
  redis.call('INCRBY', used, pages)
  redis.call('EXPIRE', used, 2 * 86400)
end
remember(owner, idempotency_key, fingerprint, idempotency_ttl, id)

local pages_before = count(submitted_pages(rank), pages) - pages
redis.call('HSET', key, unpack(ARGV, FIRST_FIELD))
redis.call('HSET', key, 'id', id, 'owner', owner, 'status', 'queued', 'created', now,
  'deadline', deadline ~= '' and now + deadline or '', 'rank', rank, 'bytes', bytes, 'batch', batch,
  'pages_total', pages, 'pages_done', 0, 'pages_failed', 0, 'pages_degraded', 0, 'attempt', 0, 'requeues', 0,
  'token', '', 'lease', 0, 'error', '', 'pages_submitted_before', pages_before,
  'before', pages_before) -- the former spelling, for gateways of the version before
redis.call('SET', keys.upload(id), upload)
count('jobs', 1)
count('pages', pages)
count('bytes', bytes)
count('submitted', 1)
count(submitted_jobs(rank), 1)
use(owner, 'jobs', 1, now)
use(owner, 'pages', pages, now)
use(owner, 'bytes', bytes, now)
redis.call('ZADD', keys.waiting(rank), now, id)
enlist(id, owner, batch, now, horizon)
emit(id, 'status', { status = 'queued' })
push(rank, message, false)
look_again(id, now + look_after)
return { 'ok', id, viewed(id, now, true) }
