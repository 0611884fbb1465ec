-- ARGV: id, token, then event, data, ...  -> 1, or 0 when the claim is lost
local id = ARGV[1]
if not holds(id, ARGV[2]) then return 0 end
for i = 3, #ARGV, 2 do
  redis.call('XADD', 'ev:' .. id, 'MAXLEN', '~', STREAM_LENGTH, '*', 'event', ARGV[i], 'data', ARGV[i + 1])
end
return 1
