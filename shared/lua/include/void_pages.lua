--- @include count
--- @include emit

-- What the pages in flight streamed so far is void: their reader is gone. Forgiven, their starts do not count.
local function void_pages(id, reason, forgive)
  for _, page in ipairs(redis.call('HKEYS', keys.pages_in_flight(id))) do
    if forgive then redis.call('HINCRBY', keys.page_starts(id), page, -1) end
    emit(id, 'page.restarted', { page = tonumber(page), reason = reason })
    count(page_retries(reason), 1)
  end
  redis.call('DEL', keys.pages_in_flight(id))
end
