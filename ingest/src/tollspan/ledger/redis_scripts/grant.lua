-- Grants a lease more in every account or in none.
-- Arguments: ROOM_SHARE; the lease's id, epoch and number of grants heard of; then of each want the
-- account's name, limit, 1 if it is soft; known, need, wish; the part's number.
-- Replies `granted`, the lease's count of grants, and the totals; or `refused`; both with the accounts
-- that are short: position, posted, held, unresolved. Or `lost` and why; or `closed`.
if not epoch then
  return reply('closed')
end
run_out(8)
local room_share, id, said_epoch = tonumber(ARGV[FIRST]), ARGV[FIRST + 1], ARGV[FIRST + 2]
local lease, why = living(id, said_epoch, tonumber(ARGV[FIRST + 3]))
if not lease then
  return reply('lost', {why})
end

local wants, soft, hard = {}, {}, {}
for i = FIRST + 4, #ARGV, 7 do
  local want = {
    name = ARGV[i],
    limit = number(ARGV[i + 1]),
    is_soft = ARGV[i + 2] == '1',
    known = number(ARGV[i + 3]),
    need = number(ARGV[i + 4]),
    wish = number(ARGV[i + 5]),
    part = tonumber(ARGV[i + 6]),
  }
  local has = part_of(id, want.name)
  local is_stale, lost = compare(lease, has, want.part, want.known)
  if is_stale or lost then
    return reply('lost', {lost or 'that part of it was given up'})
  end
  want.has = has
  wants[#wants + 1] = want
end
if is_older() then
  shut(SEEN_EPOCH)
  return reply('closed')
end

for i, want in ipairs(wants) do
  local granted = want.has and want.has.part == want.part and want.has.granted or ZERO
  local surplus = minus(granted, want.known)
  local need = most(ZERO, minus(want.need, surplus))
  want.wish = minus(want.wish, minus(want.need, need))
  want.need = need
  want.is_told_again = less(ZERO, surplus) and not less(ZERO, need)
  local account = account_of(want.name)
  want.account = account
  want.room = minus(want.limit, counted(account))
  if not less(ZERO, want.limit) or (not want.is_told_again and less(want.room, need)) then
    local list = want.is_soft and soft or hard
    list[#list + 1] = digits(i - 1)
    list[#list + 1] = text(account.posted)
    list[#list + 1] = text(account.held)
    list[#list + 1] = text(account.unresolved)
  end
end
if #hard > 0 then
  return reply('refused', hard)
end

local answer = {digits(lease.grants + 1)}
for _, want in ipairs(wants) do
  local has = want.has
  if not has then
    has = {sum = 'held', amount = ZERO}
  end
  if has.part ~= want.part then
    has.part, has.granted, has.returned, has.is_given_up = want.part, ZERO, ZERO, false
  end
  if not want.is_told_again then
    local granted = most(want.need, least(want.wish, share(want.room, room_share)))
    has.granted = add(has.granted, granted)
    has.amount = add(has.amount, granted)
    want.account.held = add(want.account.held, granted)
    write_account(want.account)
  end
  write_part(id, want.name, has)
  answer[#answer + 1] = text(has.granted)
end
redis.call('HSET', key_of(id), 'grants', digits(lease.grants + 1), 'given_up', digits(lease.given_up))
renew(id)
changed()
for _, word in ipairs(soft) do
  answer[#answer + 1] = word
end
return reply('granted', answer)
