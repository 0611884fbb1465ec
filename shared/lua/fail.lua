-- ARGV: id, token, code, detail  -> 1, or 0 when the claim is lost
if not holds(ARGV[1], ARGV[2]) then return 0 end
fail_job(ARGV[1], ARGV[3], ARGV[4], clock())
return 1
