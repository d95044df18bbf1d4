"""One conversation of a user of the terminal client: a room, or the private messages of somebody.

Lines of the conversation that is in front are shown at once. Those of the others are kept until the
user turns to them.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from twisted_net.chat import names
from twisted_net.terminal.lines import Fragments, rule_line

MOST_KEPT = 500
"""Lines that are kept of a room that is not in front. The oldest are left out beyond that."""


class Conversation:
    """A room or a person.

    :param title: ``#lobby`` or ``@ann``, as it is shown.
    :ivar members: the users who are known to be in the room.
    :ivar count: how many users are in the room.
    :ivar epoch: with ``offset``, the last message that is known here; empty before the first join.
    :ivar known_before: the same at the time before the last join.
    :ivar unread: messages that the user has not seen.
    :ivar is_mentioned: whether one of these has the user's name.
    :ivar is_coming_back: whether the connection was lost, and the room is not joined again yet.
    :ivar is_lost: whether messages were lost since then.
    :ivar held: lines that wait until the history before them is there; None if none is expected.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.members: set[str] = set()
        self.count = 0
        self.topic = ""
        self.epoch = ""
        self.offset = 0
        self.known_before = ("", 0)
        self.unread = 0
        self.is_mentioned = False
        self.is_coming_back = False
        self.is_lost = False
        self.held: list[tuple[Fragments, datetime | None, bool, bool]] | None = None
        self._kept: deque[Fragments] = deque(maxlen=MOST_KEPT)
        self._left_out = 0
        self._day = ""

    @property
    def name(self) -> str:
        """The name of the room or the person, without the first character."""
        return self.title[1:]

    @property
    def is_room(self) -> bool:
        return self.title[0] == "#"

    def keep(self, line: Fragments, counts: bool = False, is_mention: bool = False) -> None:
        """Keep a line for later.

        :param counts: whether it is a message, and so counts as unread.
        """
        if len(self._kept) == MOST_KEPT:
            self._left_out += 1
        self._kept.append(line)
        self.unread += counts
        self.is_mentioned = self.is_mentioned or is_mention

    def turn_to(self) -> list[Fragments]:
        """Return the lines to show when the user turns to this conversation. All are read then."""
        unread = f", {self.unread} unread" if self.unread else ""
        lines = [rule_line(f"{self.title}{unread}")]
        if self._left_out:
            lines.append(rule_line(f"{self._left_out} earlier lines are left out; try /history"))
        lines += self._kept
        self._kept.clear()
        self._left_out = self.unread = 0
        self.is_mentioned = False
        return lines

    def day_line(self, when: datetime | None) -> list[Fragments]:
        """Return a line with the date, if it is another than that of the message before."""
        day = f"{when:%A, %d %B %Y}" if when else self._day
        if day == self._day:
            return []
        self._day = day
        return [rule_line(day)]

    def disconnected(self) -> None:
        """Note that the connection was lost."""
        self.is_coming_back = bool(self.epoch)
        self.is_lost = False

    def rename(self, old: str, new: str) -> None:
        """Replace the name of a member."""
        self.leave(old)
        self.members.add(new)

    def has_heard_of(self, nick: str, is_here: bool) -> bool:
        """Whether the list of members knew already that somebody has come or gone.

        The server announces both a little later, and the list is that of the moment.
        """
        if is_here:
            return nick in self.members
        are_all_listed = len(self.members) == self.count
        return are_all_listed and nick not in self.members

    def leave(self, nick: str) -> None:
        """Remove a member, if it is one."""
        key = names.fold(nick)
        self.members = {each for each in self.members if names.fold(each) != key}
