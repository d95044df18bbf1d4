"""What the player tells the suite's own library, which is in the tests' environment, too."""

from __future__ import annotations

import importlib.util
from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase


class PlayerTests(SynchronousTestCase):
    def setUp(self) -> None:
        if importlib.util.find_spec("autobahn") is None:
            raise SkipTest("autobahn is not installed")
        from tests.autobahn import player

        self.player: Any = player

    def test_the_time_to_close(self) -> None:
        """It is a second at least, wherever in a second of the clock a close frame is sent."""
        import txaio

        txaio.use_twisted()
        seconds = self.player.CLOSE_SECONDS
        self.assertEqual(self.player.Players(1, []).closeHandshakeTimeout, seconds)
        for now in (100.0, 100.3, 100.999, 100.9999):
            clock = Clock()
            clock.advance(now)
            self.patch(txaio.config, "loop", clock)
            timer = txaio.make_batched_timer(0.2, 1000)
            ended: list[float] = []
            timer.call_later(seconds, partial(ended.append, now))
            clock.advance(0.999)
            self.assertEqual(ended, [], now)
            clock.advance(1.01)
            self.assertEqual(len(ended), 1, now)

    def test_why_it_was_unclean(self) -> None:
        """The report has what autobahn says, which tells a limit from a lost connection."""
        case = SimpleNamespace(
            behavior="OK", behaviorClose="UNCLEAN", result="fine", resultClose="not clean"
        )
        players = self.player.Players(1, [])
        players.case = type("Case1_1_1", (), {})
        for why, said in (("", "not clean"), ("too late", "not clean; too late")):
            players.finished(case, why)
            self.assertEqual(players.results["1.1.1"]["why_close"], said)
