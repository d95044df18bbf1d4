"""Endpoints and services that listen and connect.

:mod:`~twisted_net.endpoints.client` connects once or stays connected.
:mod:`~twisted_net.endpoints.listening` is a service that listens, and drains its connections when
it stops. ``tls``, ``socket_options`` and ``proxied`` (the PROXY protocol) each wrap another
endpoint. ``bound_sockets`` listens on sockets with options that must be set before they are bound,
and ``strings`` combines all of them to ``net:`` and ``nettls:``, with ``tls_options``.
``descriptors`` knows how many connections the process may have, ``drain`` spreads the closing of
connections over time, and ``switch_protocol`` connects a transport to another protocol.
"""
