--[[
  A page goes back unread although its worker lives: its engine died, or was stopped.

  Input:
    id, token, page
    step      as for page_start
    forgive   '1': its start does not count

  Output: 1, or 0 when the claim is lost

  Events: page.restarted
]]
--- @include count
--- @include emit
--- @include holds
--- @include page_step

local id, token, page, step, forgive = unpack(ARGV)

if not holds(id, token) then return 0 end
if is_new_step(id, page, step) and redis.call('HDEL', keys.pages_in_flight(id), page) == 1 then
  if forgive == '1' then redis.call('HINCRBY', keys.page_starts(id), page, -1) end
  emit(id, 'page.restarted', { page = tonumber(page), reason = 'engine-lost' })
  count(page_retries('engine-lost'), 1)
end
return 1
