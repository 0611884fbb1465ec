-- Add one value to a histogram, in the one bucket where it belongs; whoever reads them adds the buckets up. Called once
-- per thing that is measured: after what tells a script that it runs for the second time.
local function observe(series, seconds)
  local bucket = #HISTOGRAM_BOUNDS + 1
  for i, bound in ipairs(HISTOGRAM_BOUNDS) do
    if seconds <= bound then
      bucket = i
      break
    end
  end
  redis.call('HINCRBY', keys.histograms, series .. '|' .. bucket, 1)
  redis.call('HINCRBY', keys.histograms, series .. '|sum', math.floor(math.max(0, seconds) * 1e6 + 0.5))
end

-- The name of a series: that of its histogram, and its labels' values in their order.
local function labelled(histogram, ...)
  local parts = { histogram }
  for _, value in ipairs({ ... }) do parts[#parts + 1] = string.gsub(value or '', '[|%c]', '_') end
  return table.concat(parts, '|')
end
