"""The store in Redis, which several processes share.

Start with ``store``: ``RedisStore`` puts the parts together. Below it:

1. ``location`` has what a URL says, ``names`` the keys and channels. Both are pure.
2. ``framing`` turns bytes into replies, and ``client`` is a client of Redis on
   :class:`~twisted_net.endpoints.client.ReconnectingClient`: commands are pipelined, and what is
   published arrives on the same connection (RESP3). ``handshake`` is the beginning of a connection,
   as a generator of commands; ``preflight`` runs it once before the service starts.
3. ``scripts`` and ``shared_scripts`` are the Lua scripts: each reads, checks and writes in one
   step. ``records`` turns messages into their arguments, and back. ``script`` and ``seals`` are the
   two ends of the checksums that show whether something was changed on its way. ``damage`` tells
   what was changed where it is kept.
4. ``feed`` follows one room: it closes gaps and keeps the last messages in a ``ring``.
5. ``pulse`` notices that Redis is away, and ``trouble`` tells it. ``leases`` and ``topics`` are
   what processes tell each other, ``values`` are small texts that last.
"""
