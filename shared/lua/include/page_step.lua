-- Whether this step of a page is new. A claim numbers its steps, and of one page they come one after the other: a
-- number that is not above the latest is a step that comes a second time.
local function is_new_step(id, page, number)
  if tonumber(redis.call('HGET', keys.page_operations(id), page) or 0) >= tonumber(number) then return false end
  redis.call('HSET', keys.page_operations(id), page, number)
  return true
end
