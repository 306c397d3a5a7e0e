-- Opens a new epoch: leases of older ones are over.
-- Argument: its name, of which it is made sure that it comes after all that were ever seen.
-- Replies `opened`, and the new epoch as the current one.
local name = ARGV[FIRST]
if comes_before(last_epoch, SEEN_EPOCH) then
  last_epoch = SEEN_EPOCH
end
if not comes_before(last_epoch, name) then
  name = last_epoch .. '+'
end
redis.call('HSET', META, 'epoch', name, 'last_epoch', name)
redis.call('ZUNIONSTORE', CLOSING, 2, CLOSING, OPEN)
redis.call('DEL', OPEN)
epoch = name
changed()
return reply('opened')
