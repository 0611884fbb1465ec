-- ARGV: id, '1' with marks  -> {} | {record, marks, position, pages ahead, pages open, running, pages of the last
--                               minute, the seconds they took, now}
local id, t = ARGV[1], clock()
local key = 'job:' .. id
local status = redis.call('HGET', key, 'status')
if not status then return {} end
if not terminal(status) then
  overdue(id, t)
  status = redis.call('HGET', key, 'status')
end
local position, ahead = 0, 0
local f = redis.call('HMGET', key, 'rank', 'before')
local counts = redis.call('HMGET', 'counters', 'pages', 'running')
if status == 'queued' then
  position = redis.call('ZRANK', 'waiting:' .. f[1], id) or 0
  ahead = math.max(0, tonumber(f[2]) - tonumber(redis.call('HGET', 'counters', 'fin:' .. f[1]) or 0))
  for _, rank in ipairs({ '0', '3', '6' }) do
    if tonumber(rank) < tonumber(f[1]) then
      position = position + redis.call('ZCARD', 'waiting:' .. rank)
      local c = redis.call('HMGET', 'counters', 'sub:' .. rank, 'fin:' .. rank)
      ahead = ahead + tonumber(c[1] or 0) - tonumber(c[2] or 0)
    end
  end
  position = position + 1
end
local pages, busy = speed(t)
local marks = ARGV[2] == '1' and redis.call('HGETALL', 'marks:' .. id) or {}
return { redis.call('HGETALL', key), marks, position, ahead, tonumber(counts[1] or 0),
  tonumber(counts[2] or 0), pages, tostring(busy), tostring(t) }
