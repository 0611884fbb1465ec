-- Write down what of a job has to go, and when: its `events`, `upload`, `pictures`, or all its `payloads`. A worker
-- does it (worker/payload_sweeper.py), for no script reaches the payload store.
local function clean_up(id, what, at)
  redis.call('ZADD', keys.cleanups, at, what .. ' ' .. id)
end

-- The same for all payloads. A cached job has none of its own: it lets go of those of the job that was read.
local function clean_up_payloads(id, source, at)
  if (source or '') == '' then
    clean_up(id, 'payloads', at)
  else
    clean_up(id .. ':' .. source, 'shared', at)
  end
end
