"""``python -m twisted_net``: a short map of what there is."""

from __future__ import annotations

from twisted_net import __version__

MAP = f"""\
twisted_net {__version__}: TCP services for Twisted

Services, each with --help:
  twistd -n netchat --port 8080    a chat for browsers, nc and programs
  twistd -n netecho --port 8080    sends every byte back
  twistd -n netidle --port 8080 --upstream tcp:127.0.0.1:6379
                                   timeouts, limits, TLS before a service

Programs, each with --help:
  netchat-client HOST              talks in a chat from a terminal or a pipe
  netchat-admin                    shows operators a running service (--admin)
  netchat-passwd FILE NAME         makes accounts for netchat --auth file:FILE

To import:
  twisted_net                      Connection, ConnectionFactory, framings,
                                   Broadcast, listen, connect, WebSocketFactory
  twisted_net.chat                 the chat: ChatFactory, ChatClient
  twisted_net.web                  the chat's page and the operators' view
  twisted_net.eager                a reactor that sends without waiting
  twisted_net.testing              tests of protocols, in memory

In other Twisted programs:
  twistd --reactor eager ...       any service on the eager reactor
  net:8080:idle=60  nettls:8443:cert=F:key=F
                                   endpoint strings with limits, for any program

The guide, in the source distribution and in a checkout:
  docs/course/index.rst            the course: from a first server to a cluster
  docs/index.rst                   everything else; README says how to build it
  examples/                        programs of fewer than 40 lines
"""


def main() -> None:
    """Print the map."""
    print(MAP, end="")


if __name__ == "__main__":
    main()
