local STREAM_LENGTH = 2000

-- Append an event to the job's stream, its data as JSON.
local function append(id, event, json)
  redis.call('XADD', keys.events(id), 'MAXLEN', '~', STREAM_LENGTH, '*', 'event', event, 'data', json)
end

local function emit(id, event, data)
  append(id, event, cjson.encode(data))
end
