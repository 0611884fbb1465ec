--- @include clean_up
--- @include count
--- @include emit
--- @include fields
--- @include keep_result
--- @include observe
--- @include outbox

local FOLLOWED_SECONDS = 60 -- who follows a job has read its events by then; who comes later is told how it ended
local TOLD_SECONDS = 15 -- within which whoever ended it has told of it

-- The only way a job ends: record, counters, upload, event, webhook and expiry in one step.
local function end_job(id, status, failure, now)
  local key = keys.job(id)
  local job = fields(key, 'pages_total', 'pages_done', 'pages_failed', 'bytes', 'rank', 'result_ttl', 'status',
    'payloads', 'created')
  local left = tonumber(job.pages_total) - tonumber(job.pages_done) - tonumber(job.pages_failed)
  if job.status == 'processing' then count('running', -1) end
  redis.call('HSET', key, 'status', status, 'completed', now, 'token', '', 'lease', 0, 'error', failure)
  keep_result(id, now)
  count('jobs', -1)
  count('bytes', -tonumber(job.bytes))
  if left ~= 0 then
    count('pages', -left)
    count(finished_pages(job.rank), left)
  end
  count(ended(status), 1)
  redis.call('ZADD', keys.untold, now + TOLD_SECONDS, id)
  observe(labelled('job', status), now - tonumber(job.created))
  -- What stands for an upload that is a payload is shorter than the file (shared/store/upload.py).
  local upload_is_payload = redis.call('STRLEN', keys.upload(id)) < tonumber(job.bytes)
  redis.call('DEL', keys.upload(id), keys.page_starts(id), keys.pages_in_flight(id), keys.page_operations(id))
  redis.call('ZREM', keys.next_check, id)
  redis.call('ZREM', keys.waiting(job.rank), id)
  local event = { status = status, error = cjson.null }
  if failure ~= '' then event.error = cjson.decode(failure) end
  local done = emit(id, 'done', event)
  outbox(id, 'job.' .. status, now)
  redis.call('HSET', key, 'done_event', done)
  redis.call('EXPIRE', keys.events(id), job.result_ttl)
  clean_up(id, 'events', now + FOLLOWED_SECONDS)
  if job.payloads == '1' and upload_is_payload then clean_up(id, 'upload', now) end
end

local function fail_job(id, code, detail, now)
  end_job(id, 'failed', cjson.encode({ code = code, detail = detail }), now)
end
