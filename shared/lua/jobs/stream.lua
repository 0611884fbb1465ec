--[[
  Append what a worker has to tell to the job's stream.

  Input:
    id, token
    number            of this piece of the stream, from 1 in a claim; a piece comes into the stream once
    event, data, ...  name and JSON

  Output: 1, or 0 when the claim is lost

  Events: token, page.restarted
]]
--- @include clock
--- @include closed
--- @include emit
--- @include first_text
--- @include holds

local FIRST_EVENT = 4

local id, token, number = unpack(ARGV, 1, 3)

if not holds(id, token) then return closed(id, token) and 1 or 0 end
if tonumber(redis.call('HGET', keys.job(id), 'streamed') or 0) >= tonumber(number) then return 1 end
for i = FIRST_EVENT, #ARGV, 2 do
  append(id, ARGV[i], ARGV[i + 1])
  if ARGV[i] == 'token' then first_text(id, clock()) end
end
redis.call('HSET', keys.job(id), 'streamed', number)
return 1
