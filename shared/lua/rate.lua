-- ARGV: caller, seconds a request costs, requests at once, pages a day or ''
-- -> {1 allowed | 0, requests left, seconds to wait, seconds until all are free again, pages left or '', seconds of the day left}
-- GCRA: one number, the moment at which the caller will have paid for everything so far.
local key, cost, burst, t = 'rl:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), clock()
local paid = math.max(tonumber(redis.call('GET', key) or 0), t)
local wait = paid + cost - t - burst * cost
local allowed = wait <= 1e-6
if allowed then
  paid = paid + cost
  redis.call('SET', key, string.format('%.6f', paid), 'PX', math.ceil((paid - t) * 1000) + 1000)
end
local day = math.floor(t / 86400)
local pages = ''
if ARGV[4] ~= '' then pages = math.max(0, tonumber(ARGV[4]) - tonumber(redis.call('GET', 'quota:' .. ARGV[1] .. ':' .. day) or 0)) end
local left = math.floor((burst * cost - (paid - t)) / cost + 1e-6)
return { allowed and 1 or 0, left, tostring(math.max(0, wait)), tostring(paid - t), pages, (day + 1) * 86400 - math.floor(t) }
