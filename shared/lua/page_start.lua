-- ARGV: id, token, page  -> times this page has been begun, or 0 when the claim is lost
local id, n = ARGV[1], ARGV[3]
if not holds(id, ARGV[2]) then return 0 end
-- Repeated after a lost reply it must not count twice: being in flight already is this very start.
if redis.call('HSETNX', 'flight:' .. id, n, stamp(clock())) == 0 then return tonumber(redis.call('HGET', 'starts:' .. id, n)) end
emit(id, 'page.started', { page = tonumber(n) })
return redis.call('HINCRBY', 'starts:' .. id, n, 1)
