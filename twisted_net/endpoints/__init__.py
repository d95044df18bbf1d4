"""Endpoints and services that listen and connect.

:mod:`~twisted_net.endpoints.client` connects once or stays connected.
:mod:`~twisted_net.endpoints.listening` is a service that listens, and drains its connections when
it stops. ``tls``, ``socket_options`` and ``proxied`` (the PROXY protocol) each wrap another
endpoint, ``dual_stack`` listens for IPv6 and IPv4 on one socket, and ``strings`` combines them to
``net:`` and ``nettls:``. ``descriptors`` knows how many connections the process may have, ``drain``
spreads the closing of connections over time, and ``switch_protocol`` connects a transport to
another protocol.
"""
