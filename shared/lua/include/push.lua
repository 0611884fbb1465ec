-- Put the message of a job into its rank's queue: at the front, or behind those that wait.
local function push(rank, message, front)
  local queue = rank == '0' and keys.queue_high or keys.queue(rank)
  redis.call(front and 'RPUSH' or 'LPUSH', queue, message)
end
