-- ARGV: id, token, message, requeue after  -> 1, or 0 when the claim is lost
-- A worker that stops gives the job back: what it had begun does not count against the pages.
local id, t = ARGV[1], clock()
if not holds(id, ARGV[2]) then return 0 end
void_flight(id, 'worker-stopped', true)
requeue(id, 'worker-stopped', ARGV[3], t + tonumber(ARGV[4]), t)
return 1
