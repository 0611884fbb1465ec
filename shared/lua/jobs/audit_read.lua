--[[
  Read what the counters are made of, from the records of some jobs.

  Input:  id, id, ...
  Output: for each 'rank bytes pages-that-have-not-ended queued(1|0) pages-submitted-before', or '' for a job that is
          not unfinished
]]
--- @include fields

local found = {}
for i, id in ipairs(ARGV) do
  local job = fields(keys.job(id), 'status', 'rank', 'bytes', 'pages_total', 'pages_done', 'pages_failed',
    'pages_submitted_before', 'before')
  if job.status and not TERMINAL_STATUSES[job.status] then
    local pages = job.pages_total - job.pages_done - job.pages_failed
    found[i] = table.concat({ job.rank, job.bytes, pages, job.status == 'queued' and 1 or 0,
      job.pages_submitted_before or job.before or 0 }, ' ')
  else
    found[i] = ''
  end
end
return found
