"""Accounts of the chat from a database of your own: a credential checker on sqlite3."""

import hashlib
import hmac
import sqlite3
import sys
from contextlib import closing
from typing import Any

from twisted.cred import checkers, credentials, error
from twisted.internet import task, threads
from zope.interface import implementer

from twisted_net import serve
from twisted_net.chat import ChatFactory


@implementer(checkers.ICredentialsChecker)
class Members:
    credentialInterfaces, path = (credentials.IUsernamePassword,), "members.db"

    def requestAvatarId(self, login: Any) -> Any:  # a database may take its time: in a thread
        return threads.deferToThread(self.check, login.username, login.password)

    def check(self, name: bytes, password: bytes) -> bytes:
        with closing(sqlite3.connect(self.path)) as db:
            row = db.execute("SELECT salt, hash FROM members WHERE name = CAST(? AS TEXT)", [name])
            salt, known = row.fetchone() or (b"", b"")  # an unknown name takes as long
        if not hmac.compare_digest(hashlib.scrypt(password, salt=salt, n=1 << 14, r=8, p=1), known):
            raise error.UnauthorizedLogin()
        return name


async def main(reactor: Any, port: str = "8080") -> None:  # without TLS: only to try it here
    await serve(reactor, f"tcp:{port}", ChatFactory(checkers=[Members()], plain_logins=True))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
