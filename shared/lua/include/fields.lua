-- Some fields of a hash, by name; false for those it has not.
local function fields(key, ...)
  local found, names = redis.call('HMGET', key, ...), { ... }
  for i = 1, #names do found[names[i]] = found[i] end
  return found
end
