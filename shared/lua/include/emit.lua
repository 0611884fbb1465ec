local STREAM_LENGTH = 2000

-- Append an event to the job's stream, its data as JSON; its id.
local function append(id, event, json)
  return redis.call('XADD', keys.events(id), 'MAXLEN', '~', STREAM_LENGTH, '*', 'event', event, 'data', json)
end

local function emit(id, event, data)
  return append(id, event, cjson.encode(data))
end
