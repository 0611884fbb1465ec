-- Redis's own time, in seconds since the epoch: the only clock there is.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- Seconds as text; Lua's own would drop what is below ten milliseconds.
local function stamp(seconds)
  return string.format('%.6f', seconds)
end
