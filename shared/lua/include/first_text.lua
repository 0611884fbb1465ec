--- @include observe

-- Of this job a text, or a page's end, is seen from now on.
local function first_text(id, now)
  local key = keys.job(id)
  if redis.call('HSETNX', key, 'first_text', now) == 1 then
    observe('first_text', now - tonumber(redis.call('HGET', key, 'created')))
  end
end
