"""Bytes to messages, and back. Pure: no Twisted, no clock, no sockets.

:mod:`~twisted_net.wire.framing` has the framings; a framing of your own has the same three members.
``text`` removes from a stranger's line what would harm a terminal, ``telnet`` takes telnet's
commands out of a stream, and ``proxy_protocol`` parses the PROXY protocol's headers. ``numbers``
reads the numbers that people type, and ``json_values`` reads and writes JSON.
"""
