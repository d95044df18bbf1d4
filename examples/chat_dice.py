"""A chat with a command of its own, /dice, and a rule: only accounts may join #staff.

People type ``/dice 20``. Programs send ``{"type": "dice", "sides": 20}``.
"""

import random
import sys
from typing import Any

from twisted.internet import task

from twisted_net import serve
from twisted_net.chat import ChatError, ChatFactory, ChatUser


def dice(user: ChatUser, sides: int = 6) -> None:
    """Roll a dice, with 6 sides or as many as you say."""
    if not 2 <= sides <= 100:
        raise ChatError("bad-field", "sides must be from 2 to 100.", "sides")
    result = random.randint(1, sides)
    user.announce(f"{user.name} rolled {result} of {sides}.", result=result)


class StaffChat(ChatFactory):
    def check_join(self, user: ChatUser, room: str) -> None:
        if room == "staff" and not user.account:
            raise ChatError("staff-only", "Only the staff may join #staff.", "room")


async def main(reactor: Any, port: str = "8080") -> None:
    chat = StaffChat(commands=[dice])
    await serve(reactor, f"tcp:{port}", chat)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
