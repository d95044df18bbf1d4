"""A shell of Python in a running chat, by SSH, for whoever has the key ``operator``.

``ssh-keygen -q -t ed25519 -N '' -f host_key`` makes the server's key, ``-f operator`` the other.
"""

import sys
from typing import Any

from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.manhole import Manhole
from twisted.conch.manhole_ssh import ConchFactory, TerminalRealm
from twisted.conch.ssh.keys import Key
from twisted.cred.portal import Portal
from twisted.internet import task

from twisted_net import GuardFactory, serve
from twisted_net.chat import ChatFactory


def shell(names: dict[str, Any]) -> ConchFactory:
    host_key = Key.fromFile("host_key")
    users = InMemorySSHKeyDB({b"operator": [Key.fromFile("operator.pub")]})
    realm: Any = TerminalRealm()
    realm.chainedProtocolFactory = lambda: ServerProtocol(Manhole, names)
    factory = ConchFactory(Portal(realm, [SSHPublicKeyChecker(users)]))
    factory.publicKeys = {host_key.sshType(): host_key.public()}
    factory.privateKeys = {host_key.sshType(): host_key}
    return factory


async def main(reactor: Any, port: str = "8080", ssh_port: str = "2222") -> None:
    chat = ChatFactory()
    ssh = GuardFactory(shell({"chat": chat}), idle_timeout=3600)
    await serve(reactor, f"tcp:{port}", chat, (f"tcp:{ssh_port}:interface=127.0.0.1", ssh))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
