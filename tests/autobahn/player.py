"""Play ported cases against a server: ``python player.py PORT REPORT PATTERN...``.

This runs with the suite's own ``autobahn``, and with the ported cases on ``PYTHONPATH``. The report
is JSON: each case by its number, with what the suite thinks of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor

CLOSE_SECONDS = 2.0
"""The time for the answer to a close frame; a case without one is ``UNCLEAN``. autobahn lets it end
with a whole second of the clock, the last one in that time: with its own limit, 1, a close frame
that is sent a millisecond before must be answered within this millisecond. So 2 is 1 at least."""


def number(case: type) -> str:
    """Return the number of a case, as ``1.2.3``."""
    return case.__name__.removeprefix("Case").replace("_", ".")


def _order(case: type) -> list[int]:
    return list(map(int, number(case).split(".")))


def select(cases: list[type], patterns: list[str]) -> list[type]:
    """Return the cases that any of the patterns matches, by number.

    :raises SystemExit: if a pattern matches none.
    """
    chosen = set()
    for pattern in patterns:
        found = [each for each in cases if fnmatchcase(number(each), pattern)]
        if not found:
            sys.exit(f"no case matches {pattern!r}")
        chosen.update(found)
    return sorted(chosen, key=_order)


def as_bytes(text: Any) -> Any:
    """Return a case's text as the bytes that it means."""
    return text.encode("latin-1") if isinstance(text, str) else text


class Player(WebSocketClientProtocol):
    """One connection: the names are those that the cases call."""

    createWirelog = False
    connectionWasOpen = False

    def connectionMade(self) -> None:
        self.rxFrameStats: dict[int, int] = {}
        self.txFrameStats: dict[int, int] = {}
        self.rxOctetStats: dict[int, int] = {}
        self.txOctetStats: dict[int, int] = {}
        self.runCase = self.factory.case(self)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        case = self.runCase
        case.onConnectionLost(self.failedByMe)
        self.factory.finished(case, self.wasNotCleanReason or "")

    # What the case is told.

    def onOpen(self) -> None:
        self.connectionWasOpen = True
        self.runCase.onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.runCase.onMessage(payload.decode("latin-1"), isBinary)

    def onPing(self, payload: bytes) -> None:
        self.runCase.onPing(payload.decode("latin-1"))

    def onPong(self, payload: bytes) -> None:
        self.runCase.onPong(payload.decode("latin-1"))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.runCase.onClose(wasClean, code, reason)

    def logTxFrame(self, header: Any, *rest: Any) -> None:
        self.txFrameStats[header.opcode] = self.txFrameStats.get(header.opcode, 0) + 1

    def logRxFrame(self, header: Any, *rest: Any) -> None:
        self.rxFrameStats[header.opcode] = self.rxFrameStats.get(header.opcode, 0) + 1

    # What the case does.

    def enableWirelog(self, enable: bool) -> None:
        pass

    def continueLater(self, delay: float, function: Callable[[], Any], tag: str = "") -> None:
        def run() -> None:
            if self.state != self.STATE_CLOSED:
                function()

        reactor.callLater(delay, run)

    def killAfter(self, delay: float) -> None:
        self.continueLater(delay, self._fail_connection)

    def closeAfter(self, delay: float) -> None:
        self.continueLater(delay, self.sendClose)

    def sendFrame(self, opcode: int, payload: Any = b"", **more: Any) -> None:
        super().sendFrame(opcode=opcode, payload=as_bytes(payload), **more)

    def sendMessage(self, payload: Any, isBinary: bool = False, **more: Any) -> None:
        super().sendMessage(as_bytes(payload), isBinary, **more)

    def sendMessageFrame(self, payload: Any, *more: Any, **named: Any) -> None:
        super().sendMessageFrame(as_bytes(payload), *more, **named)

    def sendMessageFrameData(self, payload: Any, *more: Any, **named: Any) -> Any:
        return super().sendMessageFrameData(as_bytes(payload), *more, **named)

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: Any = None, isReply: bool = False
    ) -> None:
        super().sendCloseFrame(code, as_bytes(reasonUtf8), isReply)


class Players(WebSocketClientFactory):
    """Plays one case after the other."""

    protocol = Player
    noisy = False

    def __init__(self, port: int, cases: list[type]) -> None:
        super().__init__(f"ws://127.0.0.1:{port}")
        self.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=CLOSE_SECONDS)
        self.logFrames = True
        self.results: dict[str, dict[str, str]] = {}
        self.error = ""
        self._port = port
        self._cases = iter(cases)

    def next(self) -> None:
        """Play the next case."""
        case = next(self._cases, None)
        if case is None:
            reactor.stop()
        else:
            self.case = case
            reactor.connectTCP("127.0.0.1", self._port, self)

    def finished(self, case: Any, why_unclean: str) -> None:
        """Note what the suite thinks of a case.

        :param why_unclean: what autobahn says of the end of the connection: which of its limits has
            passed, or how the connection was lost.
        """
        self.results[number(self.case)] = {
            "behavior": case.behavior,
            "close": case.behaviorClose,
            "why": str(case.result),
            "why_close": "; ".join(filter(None, (case.resultClose, why_unclean))),
        }

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        reactor.callLater(0, self.next)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.error = f"no connection for {number(self.case)}: {reason.getErrorMessage()}"
        reactor.stop()


def main(port: str, report: str, *patterns: str) -> None:
    """Play the cases, and write the report."""
    from autobahntestsuite.case import Cases

    players = Players(int(port), select(Cases, list(patterns)))
    reactor.callWhenRunning(players.next)
    reactor.run()
    if players.error:
        sys.exit(players.error)
    Path(report).write_text(json.dumps(players.results))


if __name__ == "__main__":
    main(*sys.argv[1:])
