-- ARGV: id, token  -> the job's last status | 'incomplete' | '' when the claim is lost
local id = ARGV[1]
if not holds(id, ARGV[2]) then return '' end
local f = redis.call('HMGET', 'job:' .. id, 'pages_total', 'pages_done', 'pages_failed', 'pages_degraded')
local total, done, failed, degraded = tonumber(f[1]), tonumber(f[2]), tonumber(f[3]), tonumber(f[4])
if done + failed < total then return 'incomplete' end
local t = clock()
if done == 0 then
  fail_job(id, 'no-page-read', 'No page of the document could be read', t)
  return 'failed'
end
local status = (failed > 0 or degraded > 0) and 'partial' or 'succeeded'
end_job(id, status, '', t)
return status
