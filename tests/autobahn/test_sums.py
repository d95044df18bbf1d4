"""What the command says about a report."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.autobahn.__main__ import is_good, sums


def result(behavior: str = "OK", close: str = "OK") -> dict[str, str]:
    return {"behavior": behavior, "close": close, "why": "a", "why_close": "b"}


class SumsTests(SynchronousTestCase):
    def test_good(self) -> None:
        """What is informational is as good as OK."""
        report = {"1.1.1": result(), "7.1.6": result("INFORMATIONAL", "INFORMATIONAL")}
        self.assertEqual(
            sums("eager", report, 2.4),
            "eager reactor: 2 cases in 2 s: INFORMATIONAL 1, OK 1; closing: INFORMATIONAL 1, OK 1",
        )

    def test_not_good(self) -> None:
        """Each such case has a line, whatever is wrong: what it did, or how it closed."""
        report = {
            "1.1.1": result(),
            "2.1": result("NON-STRICT"),
            "3.1": result(close="WRONG CODE"),
            "13.1.1": result("UNIMPLEMENTED"),
        }
        self.assertEqual([is_good(each) for each in report.values()], [True, False, False, False])
        self.assertEqual(
            sums("default", report, 1).split("\n")[1:],
            [
                "  2.1: NON-STRICT (a); closing: OK (b)",
                "  3.1: OK (a); closing: WRONG CODE (b)",
                "  13.1.1: UNIMPLEMENTED (a); closing: OK (b)",
            ],
        )
