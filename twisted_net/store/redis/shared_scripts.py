"""The Lua scripts for what processes share besides messages: small texts, leases, notifications.

As those of :mod:`~twisted_net.store.redis.scripts`, they check what they write before they write.
"""

from __future__ import annotations

from twisted_net.store.redis.script import Script

# KEYS: the hash of a kind, the hash of numbers. ARGV: kind, key; and the value, if there is to be
# one.
PUT = Script.of("""
redis.call('HLEN', KEYS[1])
unshield(2, #ARGV)
if not ARGV[3] then
  redis.call('HDEL', KEYS[1], ARGV[2])
  return sealed({0})
end
local number = redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('HSET', KEYS[1], ARGV[2], number .. ' ' .. ARGV[3])
return sealed({number})
""")

# KEYS: the hash of a kind. Gives keys and entries, one after the other.
VALUES = Script.of("return sealed(redis.call('HGETALL', KEYS[1]))")

# KEYS: the stream of notifications of a topic. ARGV: the process, the channel, what to send, and
# how many to keep, for how many milliseconds; 0 for one that is for a single process. If one cannot
# be kept, as memory is full, it is sent all the same. Gives the number of those who hear it.
NOTIFY = Script.of("""
local id = ''
if ARGV[4] ~= '0' then
  local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', ARGV[4], '*', 'p', ARGV[1], 'd', ARGV[3])
  if type(added) == 'string' then
    id = added
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
  end
end
return sealed({publish(ARGV[2], id .. ' ' .. ARGV[1] .. ' ' .. ARGV[3])})
""")

# KEYS: the stream of notifications of a topic. ARGV: the id of the last one that is known, or ''.
# Gives the id of the last one, and the id, the process and the text of each after the known one.
MISSED = Script.of("""
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local items = {newest and newest[1] or ''}
if ARGV[1] ~= '' then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+')) do
    items[#items + 1] = entry[1]
    items[#items + 1] = entry[2][2]
    items[#items + 1] = entry[2][4] or ''
  end
end
return sealed(items)
""")

# What follows keeps leases. The hash of a kind has, for each key, the process and the value. The
# sorted set of processes has the time at which each is taken for dead. The set of a process has
# what it has taken, so that others can end it.
_LEASES = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function tell(channel, process, value, keys)
  if #keys > 0 then
    publish(channel, process .. ' [' .. (value and cjson.encode(value) or 'null') .. ','
            .. cjson.encode(keys) .. ']')
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
    local entry = kind and redis.call('HGET', base .. 'leases:' .. kind, key)
    if entry and owner_of(entry) == process then
      redis.call('HDEL', base .. 'leases:' .. kind, key)
      kinds[kind] = kinds[kind] or {}
      table.insert(kinds[kind], key)
    end
  end
  for kind, keys in pairs(kinds) do
    tell(channel .. 'leases:' .. kind, process, nil, keys)
  end
  return #taken < most
end
"""

# KEYS: processes. ARGV: the process, milliseconds that it is taken for alive from now on, what keys
# and channels begin with, the channel of its pulse, what to send there, and 1 if it is the first.
# Gives 1 if the process was taken for alive until now, or if it is its first pulse.
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
publish(ARGV[5], ARGV[6])
return sealed({(alive or ARGV[7] == '1') and 1 or 0})
""",
)

# KEYS: processes. ARGV: the process, what keys and channels begin with.
FAREWELL = Script.of(
    _LEASES,
    _REAP,
    """
while not reap(ARGV[2], ARGV[3], ARGV[1], 1000) do end
return sealed({redis.call('ZREM', KEYS[1], ARGV[1])})
""",
)

# KEYS: the hash of the kind, processes, the set of the process. ARGV: process, kind, channel,
# value, keys. Gives the value of a key that another process holds, or nothing.
LEASE = Script.of(
    _LEASES,
    """
local hash, processes, held = KEYS[1], KEYS[2], KEYS[3]
unshield(4, #ARGV)
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
    if alive[owner] then return sealed({other or ''}) end
  end
  if owner ~= process or other ~= value then changed[#changed + 1] = ARGV[i] end
end
for _, key in ipairs(changed) do
  redis.call('SADD', held, ARGV[2] .. '\\n' .. key)
  redis.call('HSET', hash, key, process .. ' ' .. value)
end
tell(ARGV[3], process, value, changed)
return sealed({})
""",
)

# KEYS: the hash of the kind, the set of the process. ARGV: process, kind, channel, keys.
RELEASE = Script.of(
    _LEASES,
    """
redis.call('SCARD', KEYS[2])
unshield(4, #ARGV)
local ended = {}
for i = 4, #ARGV do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry and owner_of(entry) == ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('SREM', KEYS[2], ARGV[2] .. '\\n' .. ARGV[i])
    ended[#ended + 1] = ARGV[i]
  end
end
tell(ARGV[3], ARGV[1], nil, ended)
return sealed({#ended})
""",
)

# KEYS: the hash of the kind, processes. Gives keys and entries, one after the other.
LEASES = Script.of(
    _LEASES,
    """
local at, alive, found = now(), {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local owner = owner_of(all[i + 1]) or ''
  if alive[owner] == nil then
    alive[owner] = tonumber(redis.call('ZSCORE', KEYS[2], owner) or 0) > at
  end
  if alive[owner] then
    found[#found + 1] = all[i]
    found[#found + 1] = all[i + 1]
  end
end
return sealed(found)
""",
)

SHARED_SCRIPTS = (PUT, VALUES, NOTIFY, MISSED, PULSE, FAREWELL, LEASE, RELEASE, LEASES)
"""All of them."""
