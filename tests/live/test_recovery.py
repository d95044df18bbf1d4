"""The guarantees with real processes, in a smaller run than :mod:`tests.live.recovery`."""

from __future__ import annotations

from twisted.internet.protocol import Factory

from tests.live.harness import LOCALHOST, LiveTestCase
from tests.live.recovery import Plan, run


class RecoveryTests(LiveTestCase):
    async def test_killed_and_cut(self) -> None:
        """Every acknowledged message is seen once, in order, by all; the server is killed twice."""
        from twisted.internet import reactor

        free = reactor.listenTCP(0, Factory(), interface=LOCALHOST)  # type: ignore[attr-defined]
        port = free.getHost().port  # the server needs the same port each time
        await free.stopListening()
        plan = Plan(clients=12, messages=600, rooms=3, cuts=4, kills=2, seconds=6.0)
        account = await run(reactor, plan, port, self.directory())
        self.assertEqual(account.wrong, [], str(account))
        self.assertEqual((account.acked, account.kills), (600, 2), str(account))
        self.assertEqual(account.not_recovered, 0)
