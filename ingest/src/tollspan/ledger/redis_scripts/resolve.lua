-- Settles by hand what an ended lease leaves open in an account.
-- Arguments: the lease's id, the account's name, how much was spent.
-- Replies `resolved`, or `unknown`.
local id, name, spent = ARGV[FIRST], ARGV[FIRST + 1], number(ARGV[FIRST + 2])
local lease = lease_of(id)
local has = lease and not lease.ends_at and part_of(id, name) or nil
if not has or has.sum == 'posted' then
  return reply('unknown')
end
local account = account_of(name)
take(account, has.sum, has.amount)
account.posted = add(account.posted, spent)
write_account(account)
redis.call('HDEL', key_of(id), name)
changed()
return reply('resolved')
