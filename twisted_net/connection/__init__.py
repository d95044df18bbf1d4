"""Connections: turn the bytes of a transport into messages for a protocol, and back.

:mod:`~twisted_net.connection.connection` has the class that users subclass; start there.
``factory`` makes the connections of one service. ``broadcast`` sends the same bytes to many
connections, ``heartbeat`` pings silent peers, and ``guard`` enforces the limits for any other
factory. The other modules serve these: ``lanes`` has the members of a broadcast that are sent to as
one, ``timers`` (on ``timer_wheel``) runs the timeouts, ``send_queue`` holds what waits for a slow
peer, ``stalls`` finds peers that have stopped reading, ``rejection`` answers clients that may not
connect, ``mistakes`` checks subclasses when they are defined, ``addresses`` formats addresses, and
``trusted_proxies`` knows which HTTP proxies may tell a client's address.
"""
