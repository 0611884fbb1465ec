--[[
  Charge a request to its caller (GCRA): one number, the moment at which the caller will have paid for all so far.

  Input:
    owner
    cost         seconds a request costs
    burst        requests at once
    page_quota   pages a day, or ''
    operation    names this request: it is charged once, though it may come twice

  Output: { 1 allowed | 0, requests left, seconds to wait, seconds until all are free again, pages left or '', seconds
            of the day left }
]]
--- @include clock

local REMEMBERED, REMEMBERED_SECONDS = 64, 60

local owner, cost, burst, page_quota, operation = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local now = clock()
local latest = keys.rate_limit_operations(owner)

local paid_until = math.max(tonumber(redis.call('GET', keys.rate_limit(owner)) or 0), now)
local charged = redis.call('LPOS', latest, operation)
local wait = charged and 0 or paid_until + cost - now - burst * cost
local allowed = wait <= 1e-6
if allowed and not charged then
  paid_until = paid_until + cost
  redis.call('SET', keys.rate_limit(owner), stamp(paid_until), 'PX', math.ceil((paid_until - now) * 1000) + 1000)
  redis.call('LPUSH', latest, operation)
  redis.call('LTRIM', latest, 0, REMEMBERED - 1)
  redis.call('EXPIRE', latest, REMEMBERED_SECONDS)
end

local today = math.floor(now / 86400)
local pages_left = ''
if page_quota ~= '' then
  pages_left = math.max(0, tonumber(page_quota) - tonumber(redis.call('GET', keys.page_quota(owner, today)) or 0))
end
-- None is left, and not less than that, where the caller's limit has been lowered since.
local left = math.max(0, math.floor((burst * cost - (paid_until - now)) / cost + 1e-6))
return { allowed and 1 or 0, left, tostring(math.max(0, wait)), tostring(paid_until - now), pages_left,
  (today + 1) * 86400 - math.floor(now) }
