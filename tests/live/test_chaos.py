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
        from twisted.internet import reactor

        from tests.live.chaos import Plan, run

        plan = Plan(processes=2, clients=8, rooms=2, messages=200, faults=1, cuts=2, seconds=16.0)
        account = await run(reactor, plan, self.directory())
        self.assertEqual(account.violations, [], account.report())
        self.assertEqual((account.acked, account.unacked), (200, 0), account.report())
        self.assertEqual(account.stored, 200, account.report())
