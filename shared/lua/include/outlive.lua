local DAY = 86400

-- A webhook that has not ended is there for a day after what it waits for, however short the ended ones are kept.
local function outlive(id, seconds)
  redis.call('EXPIRE', keys.webhook(id), DAY + math.ceil(seconds), 'GT')
end
