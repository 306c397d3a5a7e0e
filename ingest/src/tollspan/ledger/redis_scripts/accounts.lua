-- Shows accounts to whoever looks at budgets.
-- Arguments: where these begin, 0 for the first; about how many.
-- Replies `shown`, where the next ones begin ('' behind the last); and of each account its name, posted, held,
-- unresolved.
local cursor, wanted = ARGV[FIRST], tonumber(ARGV[FIRST + 1])
local words = {''}
local before = PREFIX .. 'account:'
-- Other keys may lie between: of these too, only so many are looked at.
for _ = 1, 20 do
  local page = redis.call('SCAN', cursor, 'MATCH', before .. '*', 'COUNT', wanted)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local account = account_of(string.sub(key, #before + 1))
    words[#words + 1] = account.name
    words[#words + 1] = text(account.posted)
    words[#words + 1] = text(account.held)
    words[#words + 1] = text(account.unresolved)
  end
  if cursor == '0' or #words > 4 * wanted then
    break
  end
end
words[1] = cursor == '0' and '' or cursor
return reply('shown', words)
