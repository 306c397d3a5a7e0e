-- Tells how accounts stand.
-- Arguments: their names.
-- Replies `balances`, and of each posted, held, unresolved.
local sums = {}
for i = FIRST, #ARGV do
  local account = account_of(ARGV[i])
  sums[#sums + 1] = text(account.posted)
  sums[#sums + 1] = text(account.held)
  sums[#sums + 1] = text(account.unresolved)
end
return reply('balances', sums)
