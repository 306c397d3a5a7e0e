-- Shows accounts to whoever folds them, from where the last order's cursor leads.
-- Argument: about how many; 0 for none.
-- Replies `shown`, the state that the last order left, the time, where the next ones begin ('' behind the
-- last); and of each account in which nothing is held or unresolved its name, what is posted, its mark.
local wanted = tonumber(ARGV[FIRST])
local has = redis.call('HMGET', META, 'folding', 'folding_cursor')
local cursor = has[2] or ''
local words = {has[1] or '', digits(now), ''}
if wanted == 0 then
  return reply('shown', words)
end
if cursor == '' then
  cursor = '0'
end
local before = PREFIX .. 'account:'
-- Other keys may lie between: of these too, only so many are looked at.
for _ = 1, 20 do
  local page = redis.call('SCAN', cursor, 'MATCH', before .. '*', 'COUNT', wanted)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local name = string.sub(key, #before + 1)
    local account = account_of(name)
    if not less(ZERO, account.held) and not less(ZERO, account.unresolved) then
      words[#words + 1] = name
      words[#words + 1] = text(account.posted)
      words[#words + 1] = digits(account.mark)
    end
  end
  if cursor == '0' or #words >= 3 * wanted then
    break
  end
end
words[3] = cursor == '0' and '' or cursor
return reply('shown', words)
