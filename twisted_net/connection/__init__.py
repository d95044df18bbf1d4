"""Connections: from a transport's bytes to a protocol's messages, and back.

:mod:`~twisted_net.connection.connection` is the class that users subclass, and its factory; start
there. ``broadcast`` sends the same bytes to many connections, ``heartbeat`` pings silent peers,
``guard`` puts the limits before any other factory. The rest serves these: ``timers`` (on
``timer_wheel``) has the timeouts, ``send_queue`` holds what waits for a slow peer, ``stalls`` finds
peers that take nothing, ``rejection`` answers those who may not connect, ``addresses`` formats
addresses.
"""
