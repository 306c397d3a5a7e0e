-- Ends leases that are over, and takes for spent what is beyond the horizon: so many at a time.
-- Replies `expired`, how many leases have ended, 1 if there may be more to do.
local ended, is_more = run_out(tonumber(ARGV[FIRST]))
return reply('expired', {digits(ended), is_more and '1' or '0'})
