-- Write down what of a job has to go, and when: its `events`, `upload`, `pictures`, or all its `payloads`. A worker
-- does it (worker/payload_sweeper.py), for no script reaches the payload store.
local function clean_up(id, what, at)
  redis.call('ZADD', keys.cleanups, at, what .. ' ' .. id)
end
