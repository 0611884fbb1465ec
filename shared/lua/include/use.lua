local USAGE_SECONDS = 400 * 86400 -- a year of days can be looked at

-- Add to what an owner has used today (UTC).
local function use(owner, what, by, now)
  local key = keys.usage(math.floor(now / 86400))
  redis.call('HINCRBY', key, owner .. '|' .. what, by)
  redis.call('EXPIRE', key, USAGE_SECONDS)
end
