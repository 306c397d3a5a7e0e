-- Takes back once what a lease does not need, and lets it live on.
-- Arguments: the lease's id, epoch and number of grants heard of; then of each part the account's
-- name, all that was ever given back, 1 at the last, its number, and what was granted as its holder
-- knows ('' where that was not said).
-- Replies `taken`; or `lost` and why; or `closed`.
if not epoch then
  return reply('closed')
end
local id, said_epoch = ARGV[FIRST], ARGV[FIRST + 1]
local lease, why = living(id, said_epoch, tonumber(ARGV[FIRST + 2]))
if not lease then
  return reply('lost', {why})
end

local parts = {}
for i = FIRST + 3, #ARGV, 5 do
  local given = {
    name = ARGV[i],
    total = number(ARGV[i + 1]),
    is_last = ARGV[i + 2] == '1',
    part = tonumber(ARGV[i + 3]),
    known = ARGV[i + 4] ~= '' and number(ARGV[i + 4]) or nil,
  }
  given.has = part_of(id, given.name)
  local told = given.known and less(ZERO, given.known) and given.known or given.total
  local _, lost = compare(lease, given.has, given.part, told)
  if lost then
    return reply('lost', {lost})
  end
  parts[#parts + 1] = given
end
if is_older() then
  shut(SEEN_EPOCH)
  return reply('closed')
end
if not lease.ends_at then
  return reply('taken')
end

for _, given in ipairs(parts) do
  local has = given.has
  if has and has.part == given.part and not has.is_given_up then
    local taken = most(ZERO, minus(given.total, has.returned))
    has.returned = add(has.returned, taken)
    if given.is_last then
      if given.known then
        taken = add(taken, minus(has.granted, given.known))
      end
      has.is_given_up = true
      lease.given_up = math.max(lease.given_up, has.part)
    end
    taken = least(taken, has.amount)
    has.amount = minus(has.amount, taken)
    local account = account_of(given.name)
    take(account, has.sum, taken)
    write_account(account)
    write_part(id, given.name, has)
  end
end
redis.call('HSET', key_of(id), 'given_up', digits(lease.given_up))
renew(id)
changed()
return reply('taken')
