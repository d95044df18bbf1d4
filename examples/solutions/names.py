"""Names are compared in one form, and have the letters of ASCII, digits and hyphens alone."""

import re
import unicodedata
from typing import Any

from twisted.internet import task

from twisted_net import Broadcast, CloseReason, Connection, printable, serve


def compared(name: str) -> str:
    """Return what is the same for names that look the same; empty if it can be no name."""
    folded = unicodedata.normalize("NFKC", name).strip().casefold()
    return folded if re.fullmatch(r"[a-z0-9-]{1,24}", folded) else ""


class Member(Connection):
    room: Broadcast
    names: dict[str, Connection] = {}
    name = ""

    def connected(self) -> None:
        self.send("What is your name?")

    def message_received(self, line: bytes) -> None:
        text = printable(line.decode(errors="replace"))
        if self.name:
            self.room.publish(f"<{self.name}> {text}\n".encode(), sender=self)
        elif (key := compared(text)) and key not in self.names:
            self.name = key
            self.names[key] = self
            self.room.add(self)
        else:
            self.send("This name is taken, or cannot be one. What is yours?")

    def disconnected(self, reason: CloseReason) -> None:
        self.names.pop(self.name, None)
        self.room.discard(self)


async def main(reactor: Any) -> None:
    Member.room = Broadcast(reactor)
    await serve(reactor, "tcp:8080", Member)


if __name__ == "__main__":
    task.react(main)
