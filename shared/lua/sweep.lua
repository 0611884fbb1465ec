-- -> how many ended jobs, whose records have expired, left their owners' lists; at most 1,000
local due = redis.call('ZRANGEBYSCORE', ENDED, '-inf', clock(), 'LIMIT', 0, 1000)
for _, entry in ipairs(due) do
  local owner, id = string.match(entry, '^(.*) (%S+)$')
  redis.call('ZREM', 'jobs:' .. owner, id)
  redis.call('ZREM', ENDED, entry)
end
return #due
