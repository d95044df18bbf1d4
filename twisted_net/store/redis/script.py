"""What all Lua scripts have in common: their hash, and the seals of what goes in and out.

A link may change bytes on the way, as plain TCP through a faulty device does. So the last argument
of each script is a seal, a checksum of its keys and its other arguments. A script whose seal is
wrong does nothing. The first item of a reply is a seal of the others and of the command's seal, so
no reply is taken for that of another command. What a script publishes has a seal, too, with the
channel in it.

If the number of arguments is changed, Redis takes the rest for commands of its own, a line each. So
no text that users choose begins an argument: it is shielded by another byte.

See :mod:`~twisted_net.store.redis.seals` for the other end.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1

_SEALS = """
local seal = table.remove(ARGV)
if seal ~= redis.sha1hex(table.concat(KEYS, '\\n') .. '\\n' .. table.concat(ARGV, '\\n')) then
  return redis.error_reply('DAMAGED the command was changed on its way')
end

local function unshield(first, last)
  for i = first, last do ARGV[i] = string.sub(ARGV[i], 2) end
end

local function sealed(items)
  for i = 1, #items do items[i] = tostring(items[i]) end
  table.insert(items, 1, redis.sha1hex(seal .. '\\n' .. table.concat(items, '\\n')))
  return items
end

local function publish(channel, data)
  return redis.call('PUBLISH', channel, redis.sha1hex(channel .. '\\n' .. data) .. data)
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and its hash for ``EVALSHA``."""

    text: bytes
    digest: str

    @classmethod
    def of(cls, *parts: str) -> Script:
        """Return the script with these parts."""
        text = "".join((_SEALS, *parts)).encode()
        return cls(text, sha1(text, usedforsecurity=False).hexdigest())
