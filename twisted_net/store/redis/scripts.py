"""The Lua scripts. Each reads, checks and writes in one step: nothing comes between.

A script that fails in the middle does not undo what it wrote before. So each of them reads all keys
that it will write (a key of another type fails there), and checks them, before its first write. The
last write of all is the hash with the epoch and the offset of the last message, in one command.

A room begins a new epoch if its keys do not fit together, if another server has written them
(``master_replid`` changes with each restart and each failover, which may have lost messages), or if
a process has seen messages that the log does not have. An offset is never used twice in an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and its hash for ``EVALSHA``."""

    text: bytes
    digest: str

    @classmethod
    def of(cls, *parts: str) -> Script:
        """Return the script with these parts."""
        text = "".join(parts).encode()
        return cls(text, sha1(text, usedforsecurity=False).hexdigest())


# KEYS: meta, log, ids, rooms.
# ARGV: the epoch to begin if one has to begin; the epoch and last offset that the process knows;
# the time in milliseconds; the most messages and bytes; the time of the oldest message to keep; the
# most rooms; the room; what the names of rooms begin with; the number of the database.
_OPEN = """
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
    or (ARGV[2] == epoch and tonumber(ARGV[3]) > top)
if begins then
  old, cut = epoch or '', fits and top or 0
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
        count, size = count - 1, size - tonumber(entry[2][4])
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
    redis.call('PUBLISH', ARGV[13], epoch .. ' ' .. base .. ' ' .. (top - count + 1) .. ' '
               .. ARGV[12] .. ' [' .. table.concat(records, ',') .. ']')
  end
end
return {epoch, base, top - count + 1, known and offsets or false}
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
return {epoch, top, top - count + 1, old, cut}
""",
)

# Also ARGV: 'since', an epoch, an offset and a limit: all or nothing; 'after', '', an offset and a
# limit: as many as there are; 'before', '', an offset or '', and a limit.
READ = Script.of(
    _OPEN,
    """
if is_new then
  return {'', 0, 1, 0, ARGV[12] ~= 'since' and {} or false}
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
    return {epoch, top, first, 0, false}
  end
  from = math.max(first, offset + 1)
  to = math.min(top, from + limit - 1)
end
local records = {}
if from <= to then
  for n, entry in ipairs(redis.call('XRANGE', log, from, to)) do
    records[n] = entry[2][2]
  end
end
return {epoch, top, first, from - 1, records}
""",
)

# KEYS: meta, rooms. ARGV: the time in milliseconds, the room, its channel. A room in which nothing
# was said is deleted when nobody listens any more.
CLOSE = Script.of("""
local top = redis.call('HGET', KEYS[1], 'top')
if top == '0' and redis.call('PUBSUB', 'NUMSUB', ARGV[3])[2] == 0 then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
elseif top then
  redis.call('ZADD', KEYS[2], 'XX', ARGV[1], ARGV[2])
end
return 1
""")

# KEYS: the hash of a kind, the hash of numbers. ARGV: kind, key, value.
PUT = Script.of("""
redis.call('HLEN', KEYS[1])
local number = redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('HSET', KEYS[1], ARGV[2], number .. ' ' .. ARGV[3])
return number
""")

# What follows keeps leases. The hash of a kind has, for each key, the process and the value. The
# sorted set of processes has the time at which each is taken for dead. The set of a process has
# what it has taken, so that others can end it.
_LEASES = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function publish(channel, process, value, keys)
  if #keys > 0 then
    redis.call('PUBLISH', channel, process .. ' ['
               .. (value and cjson.encode(value) or 'null') .. ',' .. cjson.encode(keys) .. ']')
  end
end

local function owner_of(entry)
  return string.match(entry, '^%S+'), string.match(entry, '^%S+ (.*)$')
end
"""

# End the leases of a process: at most `most`. Returns whether that were all.
_REAP = """
local function reap(base, channel, process, most)
  local held = base .. 'held:' .. process
  local taken = redis.call('SPOP', held, most)
  local kinds = {}
  for _, member in ipairs(taken) do
    local kind, key = string.match(member, '^(.-)\\n(.*)$')
    local entry = redis.call('HGET', base .. 'leases:' .. kind, key)
    if entry and owner_of(entry) == process then
      redis.call('HDEL', base .. 'leases:' .. kind, key)
      kinds[kind] = kinds[kind] or {}
      table.insert(kinds[kind], key)
    end
  end
  for kind, keys in pairs(kinds) do
    publish(channel .. 'leases:' .. kind, process, nil, keys)
  end
  return #taken < most
end
"""

# KEYS: processes. ARGV: the process, milliseconds that it is taken for alive from now on, what keys
# and channels begin with, the channel of its pulse, what to send there, and 1 if it is the first.
# Returns 1 if the process was taken for alive until now, or if it is its first pulse.
PULSE = Script.of(
    _LEASES,
    _REAP,
    """
local processes, process = KEYS[1], ARGV[1]
local at = now()
local before = tonumber(redis.call('ZSCORE', processes, process) or 0)
local alive = before > at
if not alive and before > 0 then reap(ARGV[3], ARGV[4], process, 100000) end
redis.call('ZADD', processes, at + ARGV[2], process)
local most = 1000
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', processes, '-inf', at, 'LIMIT', 0, 10)) do
  if reap(ARGV[3], ARGV[4], dead, most) then redis.call('ZREM', processes, dead) end
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return (alive or ARGV[7] == '1') and 1 or 0
""",
)

# KEYS: processes. ARGV: the process, what keys and channels begin with.
FAREWELL = Script.of(
    _LEASES,
    _REAP,
    """
while not reap(ARGV[2], ARGV[3], ARGV[1], 1000) do end
return redis.call('ZREM', KEYS[1], ARGV[1])
""",
)

# KEYS: the hash of the kind, processes, the set of the process. ARGV: process, kind, channel,
# value, keys. Returns the value of a key that another process holds, or 0.
LEASE = Script.of(
    _LEASES,
    """
local hash, processes, held = KEYS[1], KEYS[2], KEYS[3]
local process, value = ARGV[1], ARGV[4]
redis.call('SCARD', held)
local at, changed, alive = now(), {}, {}
if tonumber(redis.call('ZSCORE', processes, process) or 0) <= at then
  return redis.error_reply('LOST the leases of this process have ended')
end
for i = 5, #ARGV do
  local entry = redis.call('HGET', hash, ARGV[i])
  local owner, other = nil, nil
  if entry then owner, other = owner_of(entry) end
  if owner and owner ~= process then
    if alive[owner] == nil then
      alive[owner] = tonumber(redis.call('ZSCORE', processes, owner) or 0) > at
    end
    if alive[owner] then return {other} end
  end
  if owner ~= process or other ~= value then changed[#changed + 1] = ARGV[i] end
end
for _, key in ipairs(changed) do
  redis.call('SADD', held, ARGV[2] .. '\\n' .. key)
  redis.call('HSET', hash, key, process .. ' ' .. value)
end
publish(ARGV[3], process, value, changed)
return 0
""",
)

# KEYS: the hash of the kind, the set of the process. ARGV: process, kind, channel, keys.
RELEASE = Script.of(
    _LEASES,
    """
redis.call('SCARD', KEYS[2])
local ended = {}
for i = 4, #ARGV do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry and owner_of(entry) == ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('SREM', KEYS[2], ARGV[2] .. '\\n' .. ARGV[i])
    ended[#ended + 1] = ARGV[i]
  end
end
publish(ARGV[3], ARGV[1], nil, ended)
return #ended
""",
)

# KEYS: the hash of the kind, processes. Returns keys and entries, one after the other.
LEASES = Script.of(
    _LEASES,
    """
local at, alive, found = now(), {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local owner = owner_of(all[i + 1])
  if alive[owner] == nil then
    alive[owner] = tonumber(redis.call('ZSCORE', KEYS[2], owner) or 0) > at
  end
  if alive[owner] then
    found[#found + 1] = all[i]
    found[#found + 1] = all[i + 1]
  end
end
return found
""",
)

SCRIPTS = (APPEND, OPEN, READ, CLOSE, PUT, PULSE, FAREWELL, LEASE, RELEASE, LEASES)
"""All scripts. A connection loads them when it begins."""
