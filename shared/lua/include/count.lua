local function count(counter, by)
  redis.call('HINCRBY', keys.counters, counter, by)
end

-- The names of the counters that are kept by rank, status or outcome: `Counter` in shared/store/keyspace.py.
local function submitted_pages(rank) return 'sub:' .. rank end
local function finished_pages(rank) return 'fin:' .. rank end
local function ended(status) return 'ended:' .. status end
local function pages_ended(status) return 'pages:' .. status end
local function webhooks(outcome) return 'hooks:' .. outcome end
