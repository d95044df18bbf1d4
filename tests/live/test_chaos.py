"""The guarantees of several processes with one Redis, in a small run of :mod:`tests.live.chaos`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SkipTest

from tests.live.harness import LiveTestCase, redis_program


class ChaosTests(LiveTestCase):
    """Every kind of fault, once."""

    timeout = 300

    def setUp(self) -> Any:
        redis_program()
        try:
            import hiredis  # noqa: F401
        except ImportError as error:  # it is an extra
            raise SkipTest(f"there is no Redis to test with: {error}") from None

    async def test_everything_fails_once(self) -> None:
        """Whatever fails, clients see all acked messages once and in order, or are told."""
        await self.survives(seconds=16.0)

    async def test_workers_fail(self) -> None:
        """So they do if workers and supervisors are killed, stopped and replaced."""
        kinds = "kill,stop,upgrade,reload,worker-kill,worker-end,worker-stop,redis-restart,cut"
        await self.survives(seconds=20.0, workers=2, upgrades=True, only=kinds)

    async def survives(self, **more: Any) -> None:
        """Check that a small run keeps all promises."""
        from twisted.internet import reactor

        from tests.live.chaos import Plan, run

        plan = Plan(processes=2, clients=8, rooms=2, messages=200, faults=1, cuts=2, **more)
        account = await run(reactor, plan, self.directory())
        self.assertEqual(account.violations, [], account.report())
        self.assertEqual((account.acked, account.unacked), (200, 0), account.report())
        self.assertEqual(account.stored, 200, account.report())
