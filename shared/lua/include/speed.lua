-- Pages that ended in the last minute, and the seconds in which they were read.
local function speed(now)
  local pages, reading, bucket = 0, 0, math.floor(now / 10)
  for i = bucket - 6, bucket do
    local found = redis.call('MGET', keys.pages_ended(i), keys.reading_seconds(i))
    pages, reading = pages + tonumber(found[1] or 0), reading + tonumber(found[2] or 0)
  end
  return pages, reading
end
