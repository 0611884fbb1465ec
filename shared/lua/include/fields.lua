-- Some fields of a hash, by name; false for those it has not.
local function fields(key, ...)
  local found = redis.call('HMGET', key, ...)
  local named = {}
  for i, name in ipairs({ ... }) do named[name] = found[i] end
  return named
end
