--[[
  A page is being read from now on.

  Input:
    id, token, page
    step      number of this step of the claim; one that comes a second time changes nothing
    render_seconds   that its picture took, or ''

  Output: how often the page has been begun, this time included; 0 when the claim is lost

  Events: page.started
]]
--- @include clock
--- @include emit
--- @include holds
--- @include observe
--- @include page_step

local id, token, page, step, render_seconds = unpack(ARGV)

if not holds(id, token) then return 0 end
-- In flight already is the same start, too.
if is_new_step(id, page, step) and redis.call('HSETNX', keys.pages_in_flight(id), page, stamp(clock())) == 1 then
  redis.call('HINCRBY', keys.page_starts(id), page, 1)
  emit(id, 'page.started', { page = tonumber(page) })
  if render_seconds and render_seconds ~= '' then observe('render', tonumber(render_seconds)) end
end
return tonumber(redis.call('HGET', keys.page_starts(id), page) or 0)
