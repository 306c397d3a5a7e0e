-- Folds accounts, unless somebody else was here.
-- Arguments: the state that was shown, the one to keep, the cursor to keep, how many owners who are silent for
-- long are forgotten at most, how many marks; of each mark the account's name, what is posted and the mark as they were shown, the new mark; then of each account that
-- goes its name, posted and mark as they were shown, and the name of the one that gets what is posted ('' for
-- none).
-- Of idle windows, what is of the period in which its owner is has no mark and stays.
-- Replies `folded`, or `stale`.
if (redis.call('HGET', META, 'folding') or '') ~= ARGV[FIRST] then
  return reply('stale')
end
redis.call('HSET', META, 'folding', ARGV[FIRST + 1], 'folding_cursor', ARGV[FIRST + 2])

forget_idle(tonumber(ARGV[FIRST + 3]))

-- Returns the account if it is as it was shown, and nothing is held or unresolved in it, nor is its
-- owner in its period.
local function same(i)
  local account = account_of(ARGV[i])
  if is_running(account.name) then
    if account.mark ~= 0 then
      redis.call('HSET', PREFIX .. 'account:' .. account.name, 'mark', '0')
    end
    return nil
  end
  local is_free = account.held[1] == 0 and account.held[2] == 0
    and account.unresolved[1] == 0 and account.unresolved[2] == 0
  if is_free and text(account.posted) == ARGV[i + 1] and account.mark == tonumber(ARGV[i + 2]) then
    return account
  end
  return nil
end

local after = FIRST + 5 + 4 * tonumber(ARGV[FIRST + 4])
for i = FIRST + 5, after - 1, 4 do
  if same(i) then
    redis.call('HSET', PREFIX .. 'account:' .. ARGV[i], 'mark', ARGV[i + 3])
  end
end
for i = after, #ARGV, 4 do
  local account = same(i)
  if account then
    if ARGV[i + 3] ~= '' then
      local sum = account_of(ARGV[i + 3])
      sum.posted = add(sum.posted, account.posted)
      write_account(sum)
    end
    redis.call('UNLINK', PREFIX .. 'account:' .. ARGV[i])
  end
end
changed()
return reply('folded')
