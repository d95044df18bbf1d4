"""Where to listen and where to connect.

:mod:`~twisted_net.endpoints.client` connects once or stays connected;
:mod:`~twisted_net.endpoints.listening` is the service that listens and that drains its connections
when it stops. ``tls``, ``socket_options`` and ``proxied`` (the PROXY protocol) each wrap another
endpoint, and ``strings`` makes ``net:`` and ``nettls:`` of all of them. ``descriptors`` knows how
many connections the process may have, ``drain`` spreads closings over time, and
``switch_protocol`` gives a transport to another protocol.
"""
