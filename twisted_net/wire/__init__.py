"""Floor 1: bytes to messages and back. Pure: no Twisted, no clock, no sockets."""
