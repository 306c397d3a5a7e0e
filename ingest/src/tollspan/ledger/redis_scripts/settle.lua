-- Charges finished calls, each once; whether an epoch is open or not.
-- Arguments: of each call the bucket of its id, the id, its lease's id ('' for none), how many charges;
-- of each charge the account's name, posted, unresolved, drawn.
-- Replies `settled`.
if is_older() then
  shut(SEEN_EPOCH)
end

-- What many calls touch is read and written once.
local accounts, leases = {}, {}

local function charge(id, name, posted, unresolved, drawn)
  local account = accounts[name] or account_of(name)
  accounts[name] = account
  account.posted = add(account.posted, posted)
  account.unresolved = add(account.unresolved, unresolved)
  if id == '' then
    return
  end
  local parts = leases[id] or {}
  leases[id] = parts
  if parts[name] == nil then
    parts[name] = part_of(id, name) or false
  end
  local has = parts[name]
  if has then
    drawn = least(drawn, has.amount)
    has.amount = minus(has.amount, drawn)
    take(account, has.sum, drawn)
  end
end

local i = FIRST
while i <= #ARGV do
  local bucket, call, id, charges = PREFIX .. 'calls:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local after = i + 4 + 4 * tonumber(charges)
  if redis.call('HSETNX', bucket, call, '') == 1 then
    redis.call('PEXPIRE', bucket, digits(HORIZON + MEMORY))
    for at = i + 4, after - 1, 4 do
      charge(id, ARGV[at], number(ARGV[at + 1]), number(ARGV[at + 2]), number(ARGV[at + 3]))
    end
  end
  i = after
end
for _, account in pairs(accounts) do
  write_account(account)
end
for id, parts in pairs(leases) do
  for name, has in pairs(parts) do
    if has then
      write_part(id, name, has)
    end
  end
end
changed()
return reply('settled')
