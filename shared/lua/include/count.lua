-- Add to a counter; what it is then.
local function count(counter, by)
  return redis.call('HINCRBY', keys.counters, counter, by)
end

-- The names of the counters that are kept by rank, status or outcome: `Counter` in shared/store/keyspace.py.
local function submitted_pages(rank) return 'sub:' .. rank end
local function finished_pages(rank) return 'fin:' .. rank end
local function ended(status) return 'ended:' .. status end
local function pages_ended(status) return 'pages:' .. status end
-- The reason as a code, without its detail.
local function pages_with_reason(status, reason) return 'reason:' .. status .. ':' .. string.match(reason, '^[%w-]*') end
local function page_retries(reason) return 'retries:' .. reason end
local function submitted_jobs(rank) return 'submitted:' .. rank end
local function webhooks(outcome) return 'hooks:' .. outcome end
local function drift(counter) return 'drift:' .. counter end
