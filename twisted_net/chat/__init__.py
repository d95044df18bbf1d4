"""A chat: people with ``nc`` and telnet, and the same rooms to embed.

What is said and to whom is decided in pure modules (``names``, ``presence``, ``session``), which
know no Twisted and no clock; ``protocol`` carries their decisions out.
"""
