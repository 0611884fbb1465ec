-- ARGV: id  -> 'cancelled' | 'over' | 'gone'
local status = redis.call('HGET', 'job:' .. ARGV[1], 'status')
if not status then return 'gone' end
if terminal(status) then return 'over' end
end_job(ARGV[1], 'cancelled', '', clock())
return 'cancelled'
