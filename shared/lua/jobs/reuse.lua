--[[
  Make a job of an earlier one's result: the same upload, the same pages and options, read by the same engine. It has
  ended as it begins, and takes neither queue nor quota.

  Input:
    id
    content, reader   digests of what is to be read and of what would read it
    owner
    idempotency_key   or '', with the fingerprint of what it stands for and the seconds it is kept
    batch             id, or ''
    bytes             of the upload
    rank              of the queue it would have waited in
    horizon           seconds after which the owner's list forgets a job
    field, value, ... what the submission itself says, into the record

  Output:
    { 'ok', id, view }  made; view: as of view.lua, with every page
    { 'ok', id }        when it comes a second time with this id, and then it changes nothing
    { 'replay', id }    the key was used before, for the same: this is that job
    { 'mismatch', id }  the key was used before, for something else
    { 'none', '' }      no such result is kept: submit it

  Events: none is stored, for nobody can follow it yet; its record has what `done` says. The webhook job.succeeded
]]
--- @include clock
--- @include count
--- @include enlist
--- @include fields
--- @include keep_result
--- @include outbox
--- @include replayed
--- @include use
--- @include viewed

local FIRST_FIELD = 12

local id, content, reader, owner = unpack(ARGV, 1, 4)
local idempotency_key, fingerprint, idempotency_ttl, batch, bytes, rank, horizon = unpack(ARGV, 5, 11)
local now, key = clock(), keys.job(id)

local earlier = replayed(id, owner, idempotency_key, fingerprint)
if earlier then return earlier end

local found = redis.call('ZREVRANGEBYSCORE', keys.same_content(owner, content, reader), '+inf', '(' .. stamp(now),
  'LIMIT', 0, 1)[1]
local job = found and fields(keys.job(found), 'owner', 'status', 'source', 'payloads', 'engine',
  'pages_total', 'pages_done')
if not found or job.status ~= 'succeeded' or job.owner ~= owner then
  return { 'none', '' }
end

-- What lies in Redis is copied; payloads stay where they are, until no job names them any more.
for _, kind in ipairs({ keys.pages, keys.page_summaries, keys.page_images, keys.figures }) do
  redis.call('COPY', kind(found), kind(id))
end
local source = ''
if job.payloads == '1' then
  source = (job.source or '') ~= '' and job.source or found
  redis.call('SADD', keys.holders(source), found, id)
  local stored = redis.call('HGETALL', keys.page_payloads(found))
  for i = 1, #stored, 2 do
    -- A token, the letters of the parts, and the job it was read for: `PagePayloads` in shared/payloads/names.py.
    local token, parts = string.match(stored[i + 1], '^(%S+) (%a*)')
    redis.call('HSET', keys.page_payloads(id), stored[i], token .. ' ' .. parts .. ' ' .. source)
  end
end

remember(owner, idempotency_key, fingerprint, idempotency_ttl, id)
redis.call('HSET', key, unpack(ARGV, FIRST_FIELD))
redis.call('HSET', key, 'id', id, 'owner', owner, 'status', 'succeeded', 'created', now, 'completed', now,
  'deadline', '', 'rank', rank, 'bytes', bytes, 'batch', batch, 'engine', job.engine, 'reader', reader, 'cached', 1,
  'source', source, 'payloads', job.payloads or '', 'pages_total', job.pages_total, 'pages_done', job.pages_done,
  'pages_failed', 0, 'pages_degraded', 0, 'attempt', 0, 'requeues', 0, 'token', '', 'lease', 0, 'error', '',
  'done_event', string.format('%d-0', now * 1000))
keep_result(id, now)
if source ~= '' then
  -- As long as a record of those that hold them: in all that time nobody may have been there to clean up.
  local seconds = redis.call('TTL', key)
  if redis.call('TTL', keys.holders(source)) < seconds then redis.call('EXPIRE', keys.holders(source), seconds) end
end
outbox(id, 'job.succeeded', now)
enlist(id, owner, batch, now, horizon)
count('submitted', 1)
count(submitted_jobs(rank), 1)
count(ended('succeeded'), 1)
count('cached', 1)
use(owner, 'jobs', 1, now)
return { 'ok', id, viewed(id, now, true) }
