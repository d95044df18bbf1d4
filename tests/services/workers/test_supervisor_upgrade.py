"""Tests for :mod:`twisted_net.services.workers.supervisor_upgrade`: who is upgraded, and when."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.services.workers.supervisor_upgrade import (
    ServiceEnds,
    SupervisorUpgrade,
    ignore_failure,
)
from twisted_net.upgrade.frames import UpgradeFailed


class FakePool:
    count = 2
    connections = 7
    is_stopping = False

    def __init__(self) -> None:
        self.upgrades: list[tuple[int, Deferred[None]]] = []

    def upgrade_worker(self, number: int) -> Deferred[None]:
        self.upgrades.append((number, Deferred()))
        return self.upgrades[-1][1]


class FakeReexec:
    def __init__(self) -> None:
        self.checks: list[Deferred[None]] = []
        self.changes: list[Deferred[None]] = []

    async def check(self) -> None:
        self.checks.append(Deferred())
        await self.checks[-1]

    async def become(self) -> None:
        self.changes.append(Deferred())
        await self.changes[-1]


class SupervisorUpgradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pool: Any = FakePool()
        self.reexec = FakeReexec()
        self.is_ready = True
        self.upgrade = SupervisorUpgrade("netecho", self.pool, lambda: self.is_ready, self.reexec)

    def numbers(self) -> list[int]:
        return [number for number, _ in self.pool.upgrades]

    def why(self, upgraded: Deferred[str]) -> str:
        return str(self.failureResultOf(upgraded, UpgradeFailed).value)

    def test_the_order(self) -> None:
        """Workers first, one after another; the supervisor last, after who has asked was told."""
        upgraded = self.upgrade.start()
        self.assertEqual(self.numbers(), [1])
        self.pool.upgrades[0][1].callback(None)
        self.assertEqual(self.numbers(), [1, 2])
        self.assertEqual(self.reexec.checks, [])
        self.pool.upgrades[1][1].callback(None)
        self.assertNoResult(upgraded)
        self.assertEqual(self.reexec.changes, [])
        self.reexec.checks[0].callback(None)
        self.assertEqual(
            self.successResultOf(upgraded),
            "All 2 workers and the supervisor run the new code; 7 connections were kept.",
        )
        self.assertEqual(len(self.reexec.changes), 1)
        self.assertEqual(self.why(self.upgrade.start()), "an upgrade is running already")

    def test_a_worker_cannot(self) -> None:
        """The others are not touched; the line says how many were upgraded."""
        with capturedLogs() as logged:
            upgraded = self.upgrade.start()
            self.assertEqual(self.why(self.upgrade.start()), "an upgrade is running already")
            self.pool.upgrades[0][1].callback(None)
            self.pool.upgrades[1][1].errback(UpgradeFailed("it is late"))
            text = "worker 2 goes on with its old code: it is late (1 of 2 workers were upgraded)"
            self.assertEqual(self.why(upgraded), text)
        lines = [formatEvent(event) for event in logged]
        self.assertEqual(lines[-1], f"Upgrade failed: {text}")
        self.assertEqual(self.reexec.checks, [])
        self.assertNoResult(self.upgrade.start())
        self.assertEqual(self.numbers(), [1, 2, 1])

    def test_the_service_ends(self) -> None:
        """Then it is nobody's fault."""
        upgraded = self.upgrade.start()
        self.pool.is_stopping = True
        self.pool.upgrades[0][1].errback(UpgradeFailed("the worker ends"))
        self.assertEqual(self.why(upgraded), "the service ends")
        self.setUp()
        upgraded = self.upgrade.start()
        for _ in range(2):
            self.pool.upgrades[-1][1].callback(None)
        self.reexec.checks[0].errback(ServiceEnds())
        self.assertEqual(self.why(upgraded), "the service ends")

    def test_the_supervisor_cannot(self) -> None:
        """Its new code would not start, or could not be executed: the old code goes on."""
        for place in range(2):
            upgraded = self.upgrade.start()
            self.pool.upgrades[-1][1].callback(None)
            self.pool.upgrades[-1][1].callback(None)
            with capturedLogs() as logged:
                if place == 0:
                    self.reexec.checks[0].errback(UpgradeFailed("no"))
                    self.why(upgraded)
                else:
                    self.reexec.checks[1].callback(None)
                    self.successResultOf(upgraded)
                    self.reexec.changes[0].errback(UpgradeFailed("no"))
            self.assertEqual(
                [formatEvent(event) for event in logged],
                [
                    "Upgrade failed: the supervisor goes on with its old code: no (all 2 workers "
                    "were upgraded)"
                ],
            )
        self.assertNoResult(self.upgrade.start())

    def test_a_service_that_is_not_ready(self) -> None:
        """It is not upgraded."""
        self.is_ready = False
        upgraded = self.upgrade.start()
        self.assertEqual(self.why(upgraded), "netecho is not ready")
        again = self.upgrade.start().addErrback(ignore_failure)
        self.successResultOf(again)
