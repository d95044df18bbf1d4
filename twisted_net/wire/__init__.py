"""Bytes to messages, and back. Pure: no Twisted, no clock, no sockets.

:mod:`~twisted_net.wire.framing` has the framings, and ``BaseFraming`` for those of users.
``text`` removes from a client's line what could harm another user's terminal, ``telnet`` removes
telnet commands from a stream. ``proxy_protocol`` parses the headers of the PROXY protocol, and
``forwarded`` those that HTTP proxies send.
``numbers`` parses numbers that people type, and ``json_values`` reads and writes JSON.
"""
