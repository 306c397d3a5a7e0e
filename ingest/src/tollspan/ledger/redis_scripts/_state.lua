-- What an authority keeps, all under one hash tag, so that a cluster has it in one slot:
--   meta            epoch, last_epoch; serial, which counts changes; folding, folding_cursor: how far
--                   accounts were looked through
--   account:<name>  posted, held, unresolved; told:<share>; mark, of whoever folds: 0 since anything changed
--   lease:<id>      grants, given_up; once it is over: ended_at, state, cursor;
--                   and by account what it has there, see `parse`
--   open            leases by when they end, Unix milliseconds
--   closing         those of an older epoch, until they are ended
--   ended           leases that are over, by when their next step is due
--   written_off     those whose horizon is over, by when they are forgotten
--   calls:<bucket>  the calls that were settled
--   idle:<owner>    of who has accounts of idle windows: the period, and when it ends_at; what comes
--                   after the period in the account's name
--   silent          these owners, by when they are forgotten
-- The name of an owner is a JSON array too, of budget and scope: the first half of the account's.
-- Names of accounts are JSON arrays. Every script has the key of `meta`, and as its first arguments
-- the time ('' for this server's own), the epoch and the serial that its client saw last, and the
-- milliseconds of the horizon, of the memory after it, and of a lease's life.
local META = KEYS[1]
local PREFIX = string.sub(META, 1, -5)
local OPEN, CLOSING = PREFIX .. 'open', PREFIX .. 'closing'
local ENDED, WRITTEN_OFF = PREFIX .. 'ended', PREFIX .. 'written_off'
local SILENT, HOUR = PREFIX .. 'silent', 3600000
local SEEN_EPOCH, SEEN_SERIAL = ARGV[2], tonumber(ARGV[3])
local HORIZON, MEMORY, LIFE = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local FIRST = 7
local PAGE = 200

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function digits(n)
  return string.format('%d', n)
end

-- By bytes: Lua's own order is that of the server's language.
local function comes_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

-- The epoch --

local found = redis.call('HMGET', META, 'epoch', 'serial', 'last_epoch')
local epoch, serial, last_epoch = found[1], tonumber(found[2] or '0'), found[3] or ''

local function changed()
  serial = redis.call('HINCRBY', META, 'serial', 1)
end

local function reply(status, words)
  local answer = {status, epoch or '', digits(serial)}
  for _, word in ipairs(words or {}) do
    answer[#answer + 1] = word
  end
  return answer
end

-- Grants nothing any more; the next epoch is to come after all that anybody has seen.
local function shut(seen)
  if comes_before(last_epoch, seen) then
    last_epoch = seen
  end
  redis.call('HSET', META, 'last_epoch', last_epoch)
  redis.call('HDEL', META, 'epoch')
  epoch = false
  changed()
end

-- Whether the client has seen a later state than this: it was restored, or a replica lacked some.
local function is_older()
  if not epoch or SEEN_EPOCH == '' then
    return false
  end
  return comes_before(epoch, SEEN_EPOCH) or (epoch == SEEN_EPOCH and serial < SEEN_SERIAL)
end

-- Accounts --

local function account_of(name)
  local sums = redis.call('HMGET', PREFIX .. 'account:' .. name, 'posted', 'held', 'unresolved', 'mark')
  return {
    name = name,
    posted = number(sums[1]),
    held = number(sums[2]),
    unresolved = number(sums[3]),
    mark = tonumber(sums[4] or '0'),
  }
end

local function write_account(account)
  redis.call(
    'HSET', PREFIX .. 'account:' .. account.name, 'posted', text(account.posted),
    'held', text(account.held), 'unresolved', text(account.unresolved), 'mark', '0'
  )
end

local function counted(account)
  return add(add(account.posted, account.held), account.unresolved)
end

-- Takes out of one of an account's sums; what is posted alone may be less than nothing.
local function take(account, sum, amount)
  local left = minus(account[sum], amount)
  account[sum] = sum == 'posted' and left or most(ZERO, left)
end

-- Idle windows --

local function idle_key(owner)
  return PREFIX .. 'idle:' .. owner
end

-- Names the account of an owner's period.
local function account_in(owner, period, after)
  return string.sub(owner, 1, -2) .. ',"' .. period .. after
end

-- Whether an account is of the period in which its owner is, or that period's allowance.
local function is_running(name)
  local owner, period = string.match(name, '^(.*),"(idle:%d+s/%d+)[^"]*","[^"]*"%]$')
  return owner ~= nil and redis.call('HGET', idle_key(owner .. ']'), 'period') == period
end

-- Forgets owners that are silent for long, but none in whose period anything is held.
local function forget_idle(limit)
  local silent = redis.call('ZRANGEBYSCORE', SILENT, '-inf', now, 'LIMIT', 0, limit)
  for _, owner in ipairs(silent) do
    local row = redis.call('HMGET', idle_key(owner), 'period', 'after')
    if row[1] and less(ZERO, account_of(account_in(owner, row[1], row[2])).held) then
      redis.call('ZADD', SILENT, digits(now + HOUR), owner)
    else
      redis.call('ZREM', SILENT, owner)
      redis.call('UNLINK', idle_key(owner))
    end
  end
end

-- Leases --

local function key_of(id)
  return PREFIX .. 'lease:' .. id
end

-- What a lease has in an account: in which of its sums, under which number, how much; all that it
-- was ever granted and gave back under that number, and whether it has given it up.
local function parse(row)
  local sum, part, amount, granted, returned, given_up =
    string.match(row, '^(%a+) (%d+) (%d+) (%d+) (%d+) (%d)$')
  return {
    sum = sum,
    part = tonumber(part),
    amount = number(amount),
    granted = number(granted),
    returned = number(returned),
    is_given_up = given_up == '1',
  }
end

local function part_of(id, name)
  local row = redis.call('HGET', key_of(id), name)
  return row and parse(row) or nil
end

-- Keeps what a lease has in an account; not what is over, with nothing left.
local function write_part(id, name, has)
  if (has.is_given_up or has.sum ~= 'held') and not less(ZERO, has.amount) then
    redis.call('HDEL', key_of(id), name)
    return
  end
  redis.call(
    'HSET', key_of(id), name,
    table.concat({
      has.sum, digits(has.part), text(has.amount), text(has.granted), text(has.returned),
      has.is_given_up and '1' or '0',
    }, ' ')
  )
end

-- Returns nil for a lease that is not known; its `ends_at` is nil once it is over.
local function lease_of(id)
  local has = redis.call('HMGET', key_of(id), 'grants', 'given_up')
  if not has[1] then
    return nil
  end
  local ends_at = redis.call('ZSCORE', OPEN, id)
  return {
    grants = tonumber(has[1]),
    given_up = tonumber(has[2]),
    ends_at = ends_at and tonumber(ends_at) or nil,
  }
end

local function renew(id)
  redis.call('ZADD', OPEN, digits(now + LIFE), id)
end

-- Ends of leases --

local function end_lease(id, at)
  redis.call('ZREM', OPEN, id)
  redis.call('ZREM', CLOSING, id)
  redis.call('ZADD', ENDED, digits(at), id)
  redis.call('HSET', key_of(id), 'ended_at', digits(at), 'state', 'ending', 'cursor', '0')
end

-- Moves a page of what an ended lease holds where it belongs next; returns whether that was the last
-- one, and the step after it is due too.
local function step(id)
  local has = redis.call('HMGET', key_of(id), 'state', 'cursor', 'ended_at')
  local sum = has[1] == 'ending' and 'unresolved' or 'posted'
  local page = redis.call('HSCAN', key_of(id), has[2], 'COUNT', PAGE)
  local rows = page[2]
  for i = 1, #rows, 2 do
    local name, part = rows[i], string.sub(rows[i], 1, 1) == '[' and parse(rows[i + 1]) or nil
    if part and part.sum ~= sum then
      local account = account_of(name)
      take(account, part.sum, part.amount)
      account[sum] = add(account[sum], part.amount)
      write_account(account)
      part.sum = sum
      write_part(id, name, part)
    end
  end
  if page[1] ~= '0' then
    redis.call('HSET', key_of(id), 'cursor', page[1])
    return false
  end
  local due = tonumber(has[3]) + HORIZON
  redis.call('HSET', key_of(id), 'state', sum, 'cursor', '0')
  if sum == 'unresolved' then
    redis.call('ZADD', ENDED, digits(due), id)
    return due <= now
  end
  redis.call('ZREM', ENDED, id)
  redis.call('ZADD', WRITTEN_OFF, digits(due + MEMORY), id)
  return false
end

-- Does some of what is due, and returns how many leases have ended, and whether anything is left.
local function run_out(limit)
  local ended = 0
  local over = redis.call('ZRANGE', CLOSING, 0, limit - 1, 'WITHSCORES')
  if #over == 0 then
    over = redis.call('ZRANGEBYSCORE', OPEN, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  end
  for i = 1, #over, 2 do
    end_lease(over[i], math.min(now, tonumber(over[i + 1])))
    ended = ended + 1
  end
  local due = redis.call('ZRANGEBYSCORE', ENDED, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    while step(id) do
    end
  end
  local old = redis.call('ZRANGEBYSCORE', WRITTEN_OFF, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(old) do
    redis.call('ZREM', WRITTEN_OFF, id)
    redis.call('UNLINK', key_of(id))
  end
  if ended + #due + #old > 0 then
    changed()
  end
  return ended, ended + #due + #old > 0
end

-- What holders say --

-- Finds the lease of a message, a new one for one that is not known; or nil, and why it is over.
-- A holder that has heard of more than is known here has this authority shut.
local function living(id, said_epoch, heard)
  local lease = lease_of(id)
  if said_epoch ~= '' and comes_before(said_epoch, epoch) then
    return nil, 'it is of an older epoch'
  end
  local grants = lease and lease.grants or 0
  if heard > grants or (said_epoch ~= '' and comes_before(epoch, said_epoch)) then
    shut(said_epoch)
    return nil, digits(heard) .. ' grants of it were made, ' .. digits(grants) .. ' are known here'
  end
  if lease and lease.ends_at and lease.ends_at <= now then
    end_lease(id, lease.ends_at)
    step(id)
    changed()
    lease.ends_at = nil
  end
  if lease and not lease.ends_at then
    return nil, 'it is over'
  end
  return lease or {grants = 0, given_up = 0}
end

-- Compares what a holder was told of an account with what is known here; returns whether the message
-- is about a part that was given up since, and why the lease is lost, if it is.
local function compare(lease, has, part, known)
  local is_stale
  if has then
    is_stale = has.part > part or (has.part == part and has.is_given_up)
  else
    is_stale = less(ZERO, known) and part <= lease.given_up
  end
  local granted = has and has.part == part and has.granted or ZERO
  if less(granted, known) and not is_stale then
    shut('')
    return false, text(known) .. ' was granted, of which ' .. text(granted) .. ' is known here'
  end
  return is_stale, nil
end
