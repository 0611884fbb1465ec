local REMEMBERED_SECONDS = 3600 -- beyond it nothing comes late; a worker of the version before does not delete them

-- Whether this step of a page is new. A claim numbers its steps, and of one page they come one after the other: a
-- number that is not above the latest is a step that comes a second time.
local function is_new_step(id, page, number)
  local steps = keys.page_operations(id)
  if tonumber(redis.call('HGET', steps, page) or 0) >= tonumber(number) then return false end
  redis.call('HSET', steps, page, number)
  redis.call('EXPIRE', steps, REMEMBERED_SECONDS)
  return true
end
