--[[
  Look at a job; end it if its deadline passed.

  Input:
    id
    with_summaries   '1': with what became of every page

  Output:
    ''  there is none
    JSON: [record, summaries, position, pages ahead, pages unfinished, jobs running, pages of the last minute, the seconds
      they were read in, now]; record and summaries are lists of names and values in turn, {} where there is nothing

  Events: done, when it was overdue
]]
--- @include clock
--- @include overdue
--- @include viewed

local id, with_summaries = unpack(ARGV)
local now = clock()

local status = redis.call('HGET', keys.job(id), 'status')
if not status then return '' end
if not TERMINAL_STATUSES[status] then overdue(id, now) end
return viewed(id, now, with_summaries == '1')
