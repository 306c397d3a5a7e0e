-- Notes that the owner of an account of an idle window is active, and names its period.
-- Arguments: the owner's name; of the account's name what comes after the period; the period by
-- which the holder goes; for how many milliseconds it lasts, and after how many more it is forgotten;
-- 1 if the holder was told that it is the current one; 1 if it only looks; how many milliseconds ago
-- the owner was active.
-- Replies `period`, and which it is; or `closed`.
local owner, after, said = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2]
local lasts, memory = tonumber(ARGV[FIRST + 3]), tonumber(ARGV[FIRST + 4])
local is_known, is_look = ARGV[FIRST + 5] == '1', ARGV[FIRST + 6] == '1'
if not is_look then
  if epoch and is_older() then
    shut(SEEN_EPOCH)
  end
  if not epoch then
    return reply('closed')
  end
  run_out(8)
end

-- When a period began: 16 digits, so that text sorts as they do.
local function began(period)
  return string.sub(period, -16)
end

local row = redis.call('HMGET', idle_key(owner), 'period', 'ends_at')
local period, ends_at = row[1], tonumber(row[2] or '0')
if not period then
  period = said
elseif is_known and comes_before(began(period), began(said)) then
  period = said
elseif not is_known and ends_at <= now
  and not less(ZERO, account_of(account_in(owner, period, after)).held) then
  if comes_before(began(period), began(said)) then
    period = said
  else
    period = string.sub(said, 1, -17) .. string.format('%016d', tonumber(began(period)) + 1)
  end
end
if not is_look then
  local latest = now + lasts
  ends_at = math.max(latest - tonumber(ARGV[FIRST + 7]), math.min(ends_at, latest))
  redis.call('HSET', idle_key(owner), 'period', period, 'ends_at', digits(ends_at), 'after', after)
  redis.call('ZADD', SILENT, digits(ends_at + memory), owner)
  forget_idle(4)
  changed()
end
return reply('period', {period})
