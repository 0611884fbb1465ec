--[[
  The result of a job goes: it no longer holds the payloads that were read for it, or for the job it is made of.

  Input:
    id
    source   the job whose payloads they are; the same id, unless the job is cached

  Output: 1 when nobody holds them any more, so that they are to be deleted, else 0
]]

local id, source = unpack(ARGV)

redis.call('SREM', keys.holders(source), id)
return redis.call('EXISTS', keys.holders(source)) == 0 and 1 or 0
