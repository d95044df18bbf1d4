"""The Lua scripts. Each reads, checks and writes in one step: nothing comes between.

A script that fails in the middle does not undo what it wrote before. So each of them reads all keys
that it will write (a key of another type fails there), and checks them, before its first write. The
last write of all is the hash with the epoch and the offset of the last message, in one command.

A room begins a new epoch if its keys do not fit together, if another server has written them
(``master_replid`` changes with each restart and each failover, which may have lost messages), or if
a process has seen messages that the log does not have. An offset is never used twice in an epoch.
"""

from __future__ import annotations

from twisted_net.store.redis.script import Script
from twisted_net.store.redis.shared_scripts import SHARED_SCRIPTS

# KEYS: meta, log, ids, rooms.
# ARGV: the epoch to begin if one has to begin; the epoch and last offset that the process knows;
# the time in milliseconds; the most messages and bytes; the time of the oldest message to keep; the
# most rooms; the room; what the names of rooms begin with; the number of the database.
_OPEN = """
local function is_token(text)
  return text and string.find(text, '^[%w_-]+$')
end

unshield(9, 9)
local meta, log, ids, rooms = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('HMGET', meta, 'epoch', 'top', 'count', 'size', 'replid', 'old', 'cut')
local length = redis.call('XLEN', log)
local marks = redis.call('ZCARD', ids)
local many = redis.call('ZCARD', rooms)
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^%d+')) or 0
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local epoch, old, cut = found[1], found[6] or '', tonumber(found[7]) or 0
local top, count, size = tonumber(found[2]), tonumber(found[3]), tonumber(found[4])
local is_new = not epoch and length == 0
local fits = epoch and top and count and size and count == length
    and (count == 0 or last == top)
local begins = not fits or found[5] ~= replid
    or (ARGV[2] == epoch and tonumber(ARGV[3]) > top) or not is_token(epoch)
if not is_token(old) then old, cut = '', 0 end
if begins then
  old, cut = is_token(epoch) and epoch or '', fits and top or 0
  if not fits then
    top, count, size = math.max(top or 0, last), 0, 0
  end
  epoch = ARGV[1]
end

local function clear()
  if not fits and (length > 0 or marks > 0) then
    redis.call('DEL', log, ids)
  end
end

local function save()
  redis.call('HSET', meta, 'epoch', epoch, 'top', top, 'count', count, 'size', size,
             'replid', replid, 'old', old, 'cut', cut)
end

local function trim()
  local before = count
  local most, bytes, oldest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local done = false
  while count > 0 and not done and (count > most or size > bytes or oldest > 0) do
    local entries = redis.call('XRANGE', log, top - count + 1, '+', 'COUNT', 16)
    done = #entries == 0
    for _, entry in ipairs(entries) do
      if count > most or size > bytes
          or tonumber(string.match(entry[1], '%d+$')) < oldest then
        count, size = count - 1, size - (tonumber(entry[2][4]) or 0)
      else
        done = true
        break
      end
    end
  end
  if count < before then
    redis.call('XTRIM', log, 'MINID', top - count + 1)
    redis.call('ZREMRANGEBYSCORE', ids, '-inf', '(' .. (top - count + 1))
  end
  return count < before
end

-- Make place for a new room: delete the one that was unused for the longest time. Rooms that are
-- found to be in use go to the end, so that the next search does not begin with them.
local function enter()
  local function keys(room, rest)
    return ARGV[10] .. room .. '}:' .. rest
  end
  if many >= tonumber(ARGV[8]) and not redis.call('ZSCORE', rooms, ARGV[9]) then
    local victim
    for _, room in ipairs(redis.call('ZRANGE', rooms, 0, 999)) do
      if redis.call('PUBSUB', 'NUMSUB', keys(room, ARGV[11]))[2] == 0 then
        victim = room
        break
      end
      redis.call('ZADD', rooms, ARGV[4], room)
    end
    if not victim then
      return redis.error_reply('ROOMS there are ' .. ARGV[8] .. ' rooms already')
    end
    redis.call('DEL', keys(victim, 'meta'), keys(victim, 'log'), keys(victim, 'ids'))
    redis.call('ZREM', rooms, victim)
  end
  redis.call('ZADD', rooms, ARGV[4], ARGV[9])
end
"""

# Also ARGV: the process; the channel; four for each message: its mark, size, milliseconds, record.
# Gives the epoch, the last offset before, the first offset, and those of the messages if not all of
# them are new.
APPEND = Script.of(
    _OPEN,
    """
local offsets, seen, fresh, known = {}, {}, {}, false
local base, first = top, top - count + 1
for i = 14, #ARGV, 4 do
  local mark, at = ARGV[i], nil
  if mark ~= '' then
    at = seen[mark]
    if not at and fits and marks > 0 then
      at = tonumber(redis.call('ZSCORE', ids, mark))
      if at and (at < first or at > base) then at = nil end
    end
  end
  if at then
    known = true
  else
    fresh[#fresh + 1] = i
    at = base + #fresh
    if mark ~= '' then seen[mark] = at end
  end
  offsets[#offsets + 1] = at
end
if #fresh > 0 or begins then
  if is_new then
    local refused = enter()
    if refused then return refused end
  end
  clear()
  local records = {}
  for n, i in ipairs(fresh) do
    local at = base + n
    redis.call('XADD', log, at .. '-' .. ARGV[i + 2], 'm', ARGV[i + 3], 's', ARGV[i + 1])
    if ARGV[i] ~= '' then redis.call('ZADD', ids, at, ARGV[i]) end
    records[n] = ARGV[i + 3]
    size = size + tonumber(ARGV[i + 1])
  end
  top, count = base + #fresh, count + #fresh
  trim()
  save()
  if #fresh > 0 then
    publish(ARGV[13], epoch .. ' ' .. base .. ' ' .. (top - count + 1) .. ' ' .. ARGV[12] .. ' ['
            .. table.concat(records, ',') .. ']')
  end
end
local items = {epoch, base, top - count + 1}
if known then
  for i = 1, #offsets do items[i + 3] = offsets[i] end
end
return sealed(items)
""",
)

# Gives the epoch, the last and the first offset, and how the epoch before ended.
OPEN = Script.of(
    _OPEN,
    """
if is_new then
  local refused = enter()
  if refused then return refused end
else
  redis.call('ZADD', rooms, ARGV[4], ARGV[9])
end
if begins then clear() end
if trim() or begins then save() end
return sealed({epoch, top, top - count + 1, old, cut})
""",
)

# Also ARGV: 'since', an epoch, an offset and a limit: all or nothing; 'after', '', an offset and a
# limit: as many as there are; 'before', '', an offset or '', and a limit. Gives the epoch, the last
# and the first offset, the one before the first record, 1 if they were found, and the records.
READ = Script.of(
    _OPEN,
    """
unshield(13, 13)
if is_new then
  return sealed({'', 0, 1, 0, ARGV[12] ~= 'since' and 1 or 0})
end
if begins then clear() end
if trim() or begins then save() end
local first, offset, limit = top - count + 1, tonumber(ARGV[14]), tonumber(ARGV[15])
local from, to = 0, top
if ARGV[12] == 'before' then
  to = math.min(top, (offset or top + 1) - 1)
  from = math.max(first, to - limit + 1)
else
  if ARGV[12] == 'since' and (ARGV[13] ~= epoch or offset < first - 1 or offset > top
      or top - offset > limit) then
    return sealed({epoch, top, first, 0, 0})
  end
  from = math.max(first, offset + 1)
  to = math.min(top, from + limit - 1)
end
local items, at = {epoch, top, first, from - 1, 1}, from
local function skip_to(offset) -- what is missing is as a record that cannot be read
  while at < offset do
    items[#items + 1] = ''
    at = at + 1
  end
end
if from <= to then
  for _, entry in ipairs(redis.call('XRANGE', log, from, to)) do
    skip_to(tonumber(string.match(entry[1], '^%d+')))
    items[#items + 1] = entry[2][2]
    at = at + 1
  end
  skip_to(to + 1)
end
return sealed(items)
""",
)

# KEYS: meta, rooms. ARGV: the time in milliseconds, the room, its channel. A room in which nothing
# was said is deleted when nobody listens any more.
CLOSE = Script.of("""
unshield(2, 2)
local top = redis.call('HGET', KEYS[1], 'top')
if top == '0' and redis.call('PUBSUB', 'NUMSUB', ARGV[3])[2] == 0 then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
elseif top then
  redis.call('ZADD', KEYS[2], 'XX', ARGV[1], ARGV[2])
end
return sealed({1})
""")

SCRIPTS = (APPEND, OPEN, READ, CLOSE, *SHARED_SCRIPTS)
"""All scripts. A connection loads them when it begins."""
