"""What is drawn below the lines of the terminal client, by ``prompt_toolkit``."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.vt100 import Vt100_Output
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.terminal.chat_view import ChatView, PendingMessage
from twisted_net.terminal.screen import TerminalScreen


class Typing:
    """The user of a screen, in the room lobby."""

    def __init__(self) -> None:
        self.view = ChatView()
        self.view.nick = "ann"
        self.view.online = True
        self.view.turn_to("#lobby")


class KeyTests(SynchronousTestCase):
    """Keys that do what ``/help`` and the guide say."""

    def test_ctrl_c(self) -> None:
        """It forgets the line; on an empty one, it leaves."""
        with create_app_session(input=DummyInput()):
            screen: Any = TerminalScreen(DummyOutput())
        screen._buffer.text = "typed"
        for typed, is_left in (("typed", False), ("", True)):
            self.assertEqual(screen._buffer.text, typed)
            screen._clear(None)
            self.assertEqual(screen._is_left, is_left)


class DrawnTests(SynchronousTestCase):
    """Terminals of several sizes."""

    def drawn(self, columns: int, rows: int, pasted: str = "", pending: int = 0) -> list[str]:
        """Return the rows that are drawn, the last of which is the toolbar."""
        size = Size(rows, columns)
        output = Vt100_Output(io.StringIO(), lambda: size, term="xterm")
        with create_app_session(input=DummyInput(), output=output):
            screen: Any = TerminalScreen(output)
        screen._user = Typing()
        screen._paste(SimpleNamespace(data=pasted))
        for number in range(pending):
            screen._user.view.sending(PendingMessage("#lobby", f"{number}" * 3000))
        screen._buffer.text = "typed"
        screen._buffer._load_history_task = "loaded"  # it would need a loop that runs
        app = screen._application
        app.renderer.render(app, app.layout)
        cells = app.renderer.last_rendered_screen.data_buffer
        found = ["".join(cells[row][at].char for at in range(columns)) for row in range(rows)]
        return [each.rstrip() for each in found if each.strip()]

    def test_a_question(self) -> None:
        """It stands below the first lines, and above what is typed."""
        self.assertEqual(
            self.drawn(40, 24, "one\ntwo\n\nthree\nfour\nfive"),
            [
                *("  one", "  two", "  three", "  ... 2 more"),
                *("Send 5 lines to #lobby? (y/n)", "typed", " ann | #lobby (0) | connected"),
            ],
        )

    def test_a_question_about_long_lines(self) -> None:
        """It is seen all the same: a line that is too long is cut."""
        rows = self.drawn(80, 24, "A" * 1500 + "\n" + "界" * 1500)
        self.assertEqual(
            rows[:4],
            [
                *("  " + "A" * 75 + "...", "  " + "界" * 37 + "..."),
                *("Send 2 lines to #lobby? (y/n)", "typed"),
            ],
        )

    def test_a_small_terminal(self) -> None:
        """The question, what is typed and the toolbar keep a row each."""
        for columns, rows, question in (
            (80, 3, "Send 5 lines to #lobby? (y/n)"),
            (20, 4, "Send 5 lines? (y/n)"),
            (10, 3, "Send? y/n"),
        ):
            drawn = self.drawn(columns, rows, "aaaaaaaaaaaa\nb\nc\nd\ne", pending=5)
            self.assertLessEqual(len(drawn), rows)
            self.assertEqual(drawn[-3:-1], [question, "typed"])

    def test_messages_on_their_way(self) -> None:
        """They have a row each, so what is typed is seen."""
        rows = self.drawn(80, 24, pending=5)
        self.assertEqual(rows[0], "... 2 more")
        self.assertEqual(rows[1], "... #lobby " + "2" * 66 + "...")
        self.assertEqual((len(rows), rows[4]), (6, "#lobby> typed"))
        self.assertEqual(self.drawn(80, 3, pending=5)[-2], "#lobby> typed")
