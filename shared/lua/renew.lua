-- ARGV: lease, then id, token, id, token, ...  -> the ids whose claim is lost (taken over, cancelled, overdue, deleted)
local lease, t, lost = tonumber(ARGV[1]), clock(), {}
for i = 2, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  if not holds(id, token) or overdue(id, t) then
    lost[#lost + 1] = id
  else
    redis.call('HSET', 'job:' .. id, 'lease', t + lease)
    check_at(id, t + lease)
  end
end
return lost
