"""What stands around the line that is typed: the prompt, messages on their way, and the toolbar."""

from __future__ import annotations

from twisted_net.terminal.chat_view import ChatView
from twisted_net.terminal.lines import Fragments
from twisted_net.wire.text import printable

MOST_PENDING = 3
"""Messages on their way that are shown. For more, there is their number."""


def prompt(view: ChatView) -> str:
    """Return what stands before the line that is typed: where it goes."""
    return f"{printable(view.current)}> " if view.current else "> "


def pending_lines(view: ChatView) -> list[Fragments]:
    """Return a line for each message that the server has not acked yet."""
    pending = list(view.pending.values())
    lines = []
    if len(pending) > MOST_PENDING:
        lines.append([("class:pending", f"... {len(pending) - MOST_PENDING} more")])
    lines += [
        [("class:pending", f"... {printable(each.to)} {printable(each.text)}")]
        for each in pending[-MOST_PENDING:]
    ]
    return lines


def toolbar(view: ChatView) -> Fragments:
    """Return the room, its people, the state, and the marks of what is unread elsewhere."""
    where = view.conversations.get(view.current)
    line: Fragments = [("class:toolbar", f" {printable(view.nick) or '-'}")]
    if where is not None:
        people = f" ({where.count})" if where.is_room else ""
        line.append(("class:toolbar", f" | {printable(where.title)}{people}"))
    if view.online:
        line.append(("class:toolbar", " | connected"))
    else:
        why = f": {printable(view.trouble)}" if view.trouble else ""
        line.append(("class:toolbar.trouble", f" | connecting{why}"))
    for each in view.conversations.values():
        if each.title != view.current:
            line.append(("class:toolbar", " | " if each is _first_other(view) else " "))
            line.append(_mark(each.title, each.unread, each.is_mentioned))
    return [*line, ("class:toolbar", " ")]


def _first_other(view: ChatView) -> object:
    return next(each for each in view.conversations.values() if each.title != view.current)


def _mark(title: str, unread: int, is_mentioned: bool) -> tuple[str, str]:
    name = printable(title)
    if is_mentioned:
        return "class:toolbar.mention", f"{name} {unread}!"
    return ("class:toolbar.unread", f"{name} {unread}") if unread else ("class:toolbar", name)
