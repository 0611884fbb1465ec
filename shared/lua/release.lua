-- ARGV: id, token, message, requeue after, 1 if its starts do not count  -> 1, or 0 when the claim is lost
-- A worker that stops gives the job back. What it had begun does not count against the pages, unless the engine died.
local id, t = ARGV[1], clock()
if not holds(id, ARGV[2]) then return 0 end
void_flight(id, 'worker-stopped', ARGV[5] == '1')
requeue(id, 'worker-stopped', ARGV[3], t + tonumber(ARGV[4]), t)
return 1
