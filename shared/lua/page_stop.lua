-- ARGV: id, token, page, 1 if the start is not to be counted  -> 1, or 0 when the claim is lost
-- The page goes back unread although its worker lives: its engine died, or was stopped.
local id, n = ARGV[1], ARGV[3]
if not holds(id, ARGV[2]) then return 0 end
if redis.call('HDEL', 'flight:' .. id, n) == 1 then
  if ARGV[4] == '1' then redis.call('HINCRBY', 'starts:' .. id, n, -1) end
  emit(id, 'page.restarted', { page = tonumber(n), reason = 'engine-lost' })
end
return 1
