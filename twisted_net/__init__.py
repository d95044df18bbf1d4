"""TCP services for Twisted: framing, limits, broadcast, and three services made of them.

A map of the package, from the ground up; each floor imports only floors below it.

1. ``wire``: bytes to messages and back (:mod:`~twisted_net.wire.framing`) and what a line from a
   stranger may contain (:mod:`~twisted_net.wire.text`). ``policy``: decisions, such as why a
   connection ends (:mod:`~twisted_net.policy.closing`) and how much is allowed
   (:mod:`~twisted_net.policy.limits`). Both are pure: no Twisted, no clock, no sockets.
2. ``transport``: :class:`~twisted_net.transport.connection.Connection` and its factory, groups of
   connections, clients, TLS.
3. :mod:`~twisted_net.echo`, :mod:`~twisted_net.idle`, :mod:`~twisted_net.forward`,
   :mod:`~twisted_net.chat`: protocols and factories to run or to embed.
4. ``web`` is the floor of pages and metrics.
5. ``services``: the ``twistd`` plugins ``netecho``, ``netidle`` and ``netchat``.

:mod:`~twisted_net.testing` helps to test protocols that are built on this.
"""

__version__ = "0.1.0"
