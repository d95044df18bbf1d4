"""The terminal, by ``prompt_toolkit``: lines above, and one that is typed below.

What is shown stays in the terminal's own scrollback. ``patch_stdout`` of ``prompt_toolkit`` would
switch the terminal's mode for each line, which breaks under a flood. Here lines are gathered for a
moment, the prompt is erased, all are written at once, and the prompt is drawn again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth
from prompt_toolkit.widgets.toolbars import CompletionsToolbar
from twisted.internet.defer import Deferred

from twisted_net.terminal.interactive import ScreenUser
from twisted_net.terminal.lines import STYLES, Fragments
from twisted_net.terminal.status import pending_lines, prompt, toolbar
from twisted_net.terminal.typed import completions, pasted_lines
from twisted_net.wire.text import printable

GATHERING = 0.05
"""Seconds in which lines are gathered before they are shown together. Nobody reads faster."""

_NO = ("n", "\x1b", "\x03", "\x04")  # n, Esc, Ctrl-C, Ctrl-D

PREVIEWED = 3
"""Lines of a pasted text that are shown with the question."""


class TerminalScreen:
    """The terminal of this process."""

    def __init__(self, output: Output | None = None) -> None:
        self._output = output or _make_output()
        self._style = Style.from_dict(STYLES)
        self._waiting: list[Fragments] = []
        self._is_due = False
        self._is_left = False
        self._pasted = ""
        self._pasted_lines: list[str] = []  # those of the text, which is read once: it may be long
        self._user: Any = None
        self._buffer = Buffer(
            completer=_UserCompleter(self),
            history=InMemoryHistory(),
            accept_handler=self._accept,
            multiline=False,
            complete_while_typing=False,
        )
        self._application: Application[None] = Application(
            layout=self._layout(),
            key_bindings=self._keys(),
            style=self._style,
            output=self._output,
            erase_when_done=True,
        )

    @property
    def user(self) -> ScreenUser | None:
        """Whose screen it is; None before :meth:`run`."""
        return self._user  # type: ignore[no-any-return]

    def show(self, lines: list[Fragments]) -> None:
        """Show lines above the one that is typed, soon."""
        self._waiting += lines
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_event_loop().call_later(GATHERING, self._flush)

    def ring(self) -> None:
        """Ring the bell."""
        self._output.bell()

    def refresh(self) -> None:
        """Draw the prompt and the toolbar again, soon."""
        self._application.invalidate()

    def run(self, user: ScreenUser) -> Deferred[None]:
        """Read what is typed until :meth:`leave`. Cancelling leaves too."""
        self._user = user
        self._flush()  # tmux keeps what is erased at the top of its screen in the scrollback
        running = asyncio.ensure_future(
            self._application.run_async(
                pre_run=self._begun, handle_sigint=False, set_exception_handler=False
            )
        )
        done: Deferred[None] = Deferred.fromFuture(running)
        return done.addBoth(self._left)

    def leave(self) -> None:
        """Leave the terminal as it was; at once, if it has not begun."""
        self._is_left = True
        if self._application.is_running and not self._application.is_done:
            self._flush()
            self._application.exit()

    def _begun(self) -> None:
        if self._is_left:
            self._application.exit()

    def _left(self, result: Any) -> Any:
        self._flush()
        return result

    def _flush(self) -> None:
        """Write what was gathered, above the prompt."""
        self._is_due = False
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        text = [fragment for line in lines for fragment in (*line, ("", "\n"))]
        is_drawn = self._application.is_running
        if is_drawn:
            self._application.renderer.erase()
        print_formatted_text(self._output, FormattedText(text), self._style)
        if is_drawn:
            self._application.renderer.reset()
            self._application.invalidate()

    # What is drawn below the lines.

    def _layout(self) -> Layout:
        typed = Window(
            BufferControl(self._buffer, input_processors=[BeforeInput(self._prompt)]),
            height=Dimension(min=1),
            dont_extend_height=True,
            wrap_lines=True,
        )
        # If the terminal is too low for all, this one gives way, and the others keep a row each.
        above = ConditionalContainer(
            Window(FormattedTextControl(self._above), dont_extend_height=True),
            Condition(lambda: bool(self._pasted or self._user.view.pending)),
        )
        question = ConditionalContainer(
            Window(FormattedTextControl(self._question), height=1),
            Condition(lambda: bool(self._pasted)),
        )
        below = Window(FormattedTextControl(self._toolbar), height=1, style="class:toolbar")
        return Layout(
            HSplit([above, question, typed, CompletionsToolbar(), below]), focused_element=typed
        )

    def _prompt(self) -> FormattedText:
        return FormattedText([("class:prompt", "" if self._pasted else prompt(self._user.view))])

    def _above(self) -> FormattedText:
        """Return messages on their way, and the beginning of a pasted text: a row for each line."""
        lines = pending_lines(self._user.view)
        if self._pasted:
            pasted = self._pasted_lines
            lines += [[("class:pending", f"  {line}")] for line in pasted[:PREVIEWED]]
            if len(pasted) > PREVIEWED:
                lines.append([("class:pending", f"  ... {len(pasted) - PREVIEWED} more")])
        columns = self._output.get_size().columns
        return _joined([[(style, _cut(text, columns)) for style, text in line] for line in lines])

    def _question(self) -> FormattedText:
        """Return the question, as long as fits on one row."""
        number = len(self._pasted_lines)
        to = printable(self._user.view.current) or "nobody"
        words = (f"Send {number} lines to {to}? (y/n)", f"Send {number} lines? (y/n)", "Send? y/n")
        columns = self._output.get_size().columns
        fitting = (each for each in words if get_cwidth(each) <= columns)
        return FormattedText([("class:question", next(fitting, words[-1]))])

    def _toolbar(self) -> FormattedText:
        return FormattedText(toolbar(self._user.view))

    # Keys.

    def _accept(self, buffer: Buffer) -> bool:
        text = buffer.text
        if text.strip():
            self._user.typed(text)
        return False  # the line is empty again

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        is_asking = Condition(lambda: bool(self._pasted))
        add = keys.add
        add("enter", filter=~is_asking & ~has_completions)(
            lambda event: self._buffer.validate_and_handle()
        )
        add("enter", filter=~is_asking & has_completions)(self._take_completion)
        add("tab", filter=~is_asking)(lambda event: _complete(self._buffer))
        add(Keys.BracketedPaste)(self._paste)
        add("escape", "up", filter=~is_asking)(lambda event: self._user.step(-1))
        add("escape", "down", filter=~is_asking)(lambda event: self._user.step(1))
        add("c-c")(self._clear)
        add("c-d")(self._end_of_input)
        add("c-l")(lambda event: event.app.renderer.clear())
        add("c-z")(lambda event: event.app.suspend_to_background())
        add("<any>", filter=is_asking, eager=True)(self._answer)
        for key in ("enter", "tab", "escape", "c-c", "c-d"):
            add(key, filter=is_asking, eager=True)(self._answer)
        return keys

    def _take_completion(self, event: KeyPressEvent) -> None:
        """Take the completion as it stands, and go on typing."""
        self._buffer.complete_state = None

    def _paste(self, event: KeyPressEvent) -> None:
        """Ask before a pasted text becomes several messages."""
        lines = pasted_lines(event.data)
        if len(lines) > 1:
            self._pasted, self._pasted_lines = event.data, lines
        elif lines:
            self._buffer.insert_text(lines[0])

    def _answer(self, event: KeyPressEvent) -> None:
        """Send or forget what was pasted. Any other key, and another paste, does nothing."""
        pressed = event.key_sequence[-1]
        if pressed.key == Keys.BracketedPaste:
            return
        key = pressed.data.lower()
        if key == "y":
            text, self._pasted = self._pasted, ""
            self._user.pasted(text)
        elif key in _NO:
            self._pasted = ""

    def _clear(self, event: KeyPressEvent) -> None:
        """Forget what is typed; with nothing there, leave."""
        if self._buffer.text:
            self._buffer.reset()
        else:
            self.leave()

    def _end_of_input(self, event: KeyPressEvent) -> None:
        if self._buffer.text:
            self._buffer.delete()
        else:
            self.leave()


def _make_output() -> Output:
    """Return the terminal of the standard output."""
    output = Vt100_Output.from_pty(
        sys.stdout, term=os.environ.get("TERM"), default_color_depth=ColorDepth.from_env()
    )
    # The terminal would answer between the keys where its cursor is. There is no need for that.
    output.enable_cpr = False
    return output


class _UserCompleter(Completer):
    """Completes a word with what is known of the chat."""

    def __init__(self, screen: TerminalScreen) -> None:
        self._screen = screen

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        user = self._screen.user
        if user is not None:
            for word, completed in completions(document.text_before_cursor, user.view):
                yield Completion(completed, start_position=-len(word), display=completed.strip())


def _complete(buffer: Buffer) -> None:
    """Complete as far as is certain; go on to the next possibility if Tab is pressed again."""
    if buffer.complete_state:
        buffer.complete_next()
    else:
        buffer.start_completion(insert_common_part=True)


def _cut(text: str, columns: int) -> str:
    """Return a text, or its beginning and dots if it does not fit on one row."""
    width = end = 0
    for character in text:
        width += get_cwidth(character)
        if width > columns:
            return f"{text[:end]}..."
        if width <= columns - len("..."):
            end += 1
    return text


def _joined(lines: list[Fragments]) -> FormattedText:
    found: Fragments = []
    for line in lines:
        found += [*([("", "\n")] if found else []), *line]
    return FormattedText(found)
