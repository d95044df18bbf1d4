"""The memory budget of a whole process."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.budget import MemoryBudget


class MemoryBudgetTests(SynchronousTestCase):
    def test_nobody_is_shed_within_the_limit(self) -> None:
        budget: MemoryBudget[str] = MemoryBudget(100)
        self.assertFalse(budget.charge("a", 60))
        self.assertFalse(budget.charge("b", 40))
        self.assertEqual((budget.total, budget.shed()), (100, []))

    def test_the_worst_goes_first_and_no_more_than_needed(self) -> None:
        budget: MemoryBudget[str] = MemoryBudget(100, relief=0)
        budget.charge("small", 10)
        budget.charge("worst", 60)
        self.assertTrue(budget.charge("bad", 40))
        self.assertEqual(budget.shed(), ["worst"])

    def test_comes_down_below_the_limit_so_that_not_every_write_sheds(self) -> None:
        budget: MemoryBudget[int] = MemoryBudget(80)
        for key in range(81):
            budget.charge(key, 1)
        shed = budget.shed()
        self.assertEqual(len(shed), 11)
        for key in shed:
            budget.forget(key)
        self.assertEqual(budget.total, 70)

    def test_of_two_alike_the_one_that_waits_longer_goes_first(self) -> None:
        budget: MemoryBudget[object] = MemoryBudget(10, relief=0)
        first, second = object(), object()  # they cannot be compared
        budget.charge(first, 6)
        budget.charge(second, 6)
        self.assertEqual(budget.shed(), [first])

    def test_to_ask_changes_nothing(self) -> None:
        budget: MemoryBudget[str] = MemoryBudget(10)
        budget.charge("a", 11)
        self.assertEqual((budget.shed(), budget.shed(), budget.total), (["a"], ["a"], 11))

    def test_a_peer_is_forgotten_as_often_as_one_likes(self) -> None:
        budget: MemoryBudget[str] = MemoryBudget(10)
        budget.charge("a", 5)
        budget.forget("a")
        budget.forget("a")
        self.assertEqual((budget.total, len(budget)), (0, 0))

    def test_a_peer_that_has_caught_up_costs_no_memory(self) -> None:
        budget: MemoryBudget[str] = MemoryBudget(10)
        budget.charge("a", 5)
        budget.charge("a", -5)
        self.assertEqual(len(budget), 0)

    def test_more_than_waits_cannot_be_taken_off(self) -> None:
        budget: MemoryBudget[str] = MemoryBudget(10)
        budget.charge("a", 5)
        with self.assertRaises(ValueError) as caught:
            budget.charge("a", -6)
        self.assertIn("'a' has 5 bytes waiting, not 6", str(caught.exception))
        self.assertEqual(budget.total, 5)

    def test_a_value_that_makes_no_sense_is_named(self) -> None:
        for limit, relief, name in [(0, None, "limit"), (10, 11, "relief"), (10, -1, "relief")]:
            with self.assertRaises(ValueError) as caught:
                MemoryBudget(limit, relief)
            self.assertIn(name, str(caught.exception))


class AgainstTheNaiveModel(RuleBasedStateMachine):
    """After any charges in any order, the result equals that of a plain sort."""

    limit = 1000
    relief = 100

    def __init__(self) -> None:
        super().__init__()
        self.budget: MemoryBudget[int] = MemoryBudget(self.limit, self.relief)
        self.model: list[list[int]] = []  # [key, size], the oldest first

    def find(self, key: int) -> list[int]:
        for account in self.model:
            if account[0] == key:
                return account
        self.model.append([key, 0])
        return self.model[-1]

    @rule(key=st.integers(0, 12), size=st.integers(0, 400))
    def queue(self, key: int, size: int) -> None:
        over = self.budget.charge(key, size)
        self.find(key)[1] += size
        self.tidy()
        assert over == (sum(size for _, size in self.model) > self.limit)

    @rule(key=st.integers(0, 12), part=st.floats(0, 1))
    def drain(self, key: int, part: float) -> None:
        account = self.find(key)
        size = int(account[1] * part)
        self.budget.charge(key, -size)
        account[1] -= size
        self.tidy()

    @rule(key=st.integers(0, 12))
    def leave(self, key: int) -> None:
        self.budget.forget(key)
        self.find(key)[1] = 0
        self.tidy()

    @rule()
    def shed(self) -> None:
        for key in self.budget.shed():
            self.leave(key)
        assert self.budget.total <= self.limit

    def tidy(self) -> None:
        self.model = [account for account in self.model if account[1]]

    @invariant()
    def agrees(self) -> None:
        total = sum(size for _, size in self.model)
        assert self.budget.total == total
        assert len(self.budget) == len(self.model)
        expected = []
        if total > self.limit:
            for key, size in sorted(self.model, key=lambda account: -account[1]):
                if total <= self.limit - self.relief:
                    break
                expected.append(key)
                total -= size
        assert self.budget.shed() == expected


class ModelTests(SynchronousTestCase):
    def test_equals_the_naive_model(self) -> None:
        run_state_machine_as_test(AgainstTheNaiveModel)
