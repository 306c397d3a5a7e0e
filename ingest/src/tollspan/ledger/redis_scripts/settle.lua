-- Charges finished calls, each once; whether an epoch is open or not.
-- Arguments: of each call the bucket of its id, the id, its lease's id ('' for none), how many charges;
-- of each charge the account's name, posted, unresolved, drawn.
-- Replies `settled`.
if is_older() then
  shut(SEEN_EPOCH)
end
local i = FIRST
while i <= #ARGV do
  local bucket, call, id, charges = PREFIX .. 'calls:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  i = i + 4
  local is_new = redis.call('HSETNX', bucket, call, '') == 1
  if is_new then
    redis.call('PEXPIRE', bucket, digits(HORIZON + MEMORY))
  end
  for _ = 1, tonumber(charges) do
    if is_new then
      local name, drawn = ARGV[i], number(ARGV[i + 3])
      local account = account_of(name)
      account.posted = add(account.posted, number(ARGV[i + 1]))
      account.unresolved = add(account.unresolved, number(ARGV[i + 2]))
      local has = id ~= '' and part_of(id, name) or nil
      if has then
        drawn = least(drawn, has.amount)
        has.amount = minus(has.amount, drawn)
        take(account, has.sum, drawn)
        write_part(id, name, has)
      end
      write_account(account)
    end
    i = i + 4
  end
end
changed()
return reply('settled')
