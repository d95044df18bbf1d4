"""A chat: people with ``nc`` and telnet, programs that speak JSON, and the same rooms to embed.

The way of a line: ``forms`` (with ``commands`` and ``fields``) makes a request of it, ``session``
decides by what ``rooms`` knows and gives ``actions``, ``protocol`` does them, ``feed`` stores what
was said and tells it to everybody in the room. ``protocol``, ``feed``, ``members``, ``login`` and
``client`` know Twisted; all the others are pure.
"""
