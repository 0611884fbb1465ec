--[[
  Store a page's result. A page has one result: a second is dropped.

  Input:
    id, token, page
    step             as for page_start
    status           ok, degraded, failed or skipped
    result           JSON, or '' where it is a payload
    summary          JSON
    payloads         token and parts of what lies in the payload store (`PagePayloads`), or ''
    picture          WebP, or ''
    prompt_tokens, completion_tokens, engine_seconds
    name, JPEG, ...  figures

  Output: 1, or 0 when the claim is lost

  Events: page.completed or page.failed
]]
--- @include clock
--- @include closed
--- @include count
--- @include emit
--- @include fields
--- @include first_text
--- @include holds
--- @include observe
--- @include page_step
--- @include use

local FIRST_FIGURE = 13

local id, token, page, step, status, result, summary, payloads, picture = unpack(ARGV, 1, 9)
local prompt_tokens, completion_tokens, engine_seconds = unpack(ARGV, 10, 12)
local now, key = clock(), keys.job(id)

if not holds(id, token) then
  return closed(id, token) and redis.call('HEXISTS', keys.page_summaries(id), page) or 0
end
if redis.call('HSETNX', keys.page_summaries(id), page, summary) == 0 then return 1 end
is_new_step(id, page, step)
if result ~= '' then redis.call('HSET', keys.pages(id), page, result) end
if payloads ~= '' then
  redis.call('HSET', keys.page_payloads(id), page, payloads)
  redis.call('HSET', key, 'payloads', 1)
end
if picture ~= '' then redis.call('HSET', keys.page_images(id), page, picture) end
for i = FIRST_FIGURE, #ARGV, 2 do redis.call('HSET', keys.figures(id), ARGV[i], ARGV[i + 1]) end
local begun = tonumber(redis.call('HGET', keys.pages_in_flight(id), page) or now)
observe(labelled('page', redis.call('HGET', key, 'engine'), status), now - begun)
first_text(id, now)
redis.call('HDEL', keys.pages_in_flight(id), page)

redis.call('HINCRBY', key, status == 'failed' and 'pages_failed' or 'pages_done', 1)
if status == 'degraded' then redis.call('HINCRBY', key, 'pages_degraded', 1) end
redis.call('HINCRBY', key, 'prompt_tokens', prompt_tokens)
redis.call('HINCRBY', key, 'completion_tokens', completion_tokens)
redis.call('HINCRBYFLOAT', key, 'engine_seconds', engine_seconds)
local job = fields(key, 'rank', 'pages_total', 'pages_done', 'pages_failed', 'owner')
use(job.owner, 'tokens', prompt_tokens + completion_tokens, now)
count('pages', -1)
count(finished_pages(job.rank), 1)
count(pages_ended(status), 1)

-- Since the page before ended, or this one began: time in which nothing was read says nothing of the speed.
local last, bucket = tonumber(redis.call('GET', keys.last_page_end) or 0), math.floor(now / 10)
redis.call('INCRBYFLOAT', keys.reading_seconds(bucket), stamp(math.max(0, now - math.max(begun, last))))
redis.call('INCR', keys.pages_ended(bucket))
redis.call('SET', keys.last_page_end, stamp(now), 'EX', 90)
redis.call('EXPIRE', keys.pages_ended(bucket), 90)
redis.call('EXPIRE', keys.reading_seconds(bucket), 90)

local event = cjson.decode(summary)
if type(event.reason) == 'string' then count(pages_with_reason(status, event.reason), 1) end
event.page, event.number = tonumber(page), nil
event.progress = {
  pages_total = tonumber(job.pages_total), pages_done = tonumber(job.pages_done),
  pages_failed = tonumber(job.pages_failed),
}
emit(id, status == 'failed' and 'page.failed' or 'page.completed', event)
return 1
