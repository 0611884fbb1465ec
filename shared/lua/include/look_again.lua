-- When the reaper has to look at the job again: at this time, or earlier if its deadline comes first.
local function look_again(id, at)
  local deadline = redis.call('HGET', keys.job(id), 'deadline')
  if deadline and deadline ~= '' then at = math.min(at, tonumber(deadline)) end
  redis.call('ZADD', keys.next_check, at, id)
end
