"""Answers what the supervisor asks for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_net.services.workers.admin.sums import MetricFamily
from twisted_net.services.workers.channel import ChannelError
from twisted_net.web.admin.answers import BadRequest, OpenTap, Plain, Question, ServiceAnswers
from twisted_net.web.admin.metrics import collect_metrics
from twisted_net.web.admin.probe import TurnProbe
from twisted_net.web.admin.views import ServiceView

Tell = Callable[..., None]


class WorkerAnswers:
    """Answers for the service of a worker.

    :param clock: the reactor.
    :param view: the service.
    :param tell: tells the supervisor something.
    """

    def __init__(self, clock: Any, view: ServiceView, tell: Tell) -> None:
        self._view = view
        self._probe = TurnProbe(clock)
        self._answers = ServiceAnswers([view], self._probe.turns)
        self._tell = tell
        self._taps: dict[int, OpenTap] = {}
        self._last_tap = 0

    def start(self) -> None:
        """Begin to observe."""
        self._view.start()
        self._probe.start()

    def stop(self) -> None:
        """Stop observing."""
        self._probe.stop()
        self._view.stop()

    async def answer(self, name: str, values: dict[str, Any]) -> Any:
        """Return a JSON value.

        :raises ChannelError: it cannot be answered.
        """
        if name == "metrics":
            return await self.metrics()
        question = Question(**values)
        try:
            if name == "open-tap":
                return await self._open_tap(question)
            if name == "close-tap":
                return await self._close_tap(question.number)
            if name == "connections":
                return await self._answers.page(question)
            found = await self._answers.answer(name, question)
        except BadRequest as error:
            raise ChannelError(error.status, str(error)) from None
        if isinstance(found, Plain):
            return {"text": found.body.decode(), "status": found.status}
        return found

    async def metrics(self) -> list[MetricFamily]:
        """Return the metrics."""
        collector = await collect_metrics([self._view], self._probe.turns)
        return [
            {
                "name": family.name,
                "help": family.documentation,
                "type": family.type,
                "samples": [[each.name, each.labels, each.value] for each in family.samples],
            }
            for family in collector.collect()
        ]

    def told(self, name: str, values: dict[str, Any]) -> None:
        """Do what the supervisor says about a tap."""
        tap = self._taps.get(values["tap"])
        if tap is None:  # it has ended meanwhile
            return
        if name == "begin-tap":
            try:
                tap.begin()
            except AttributeError:
                self._tap_ended(values["tap"], failed=True)
        elif name == "pause-tap":
            tap.pauseProducing()
        elif name == "resume-tap":
            tap.resumeProducing()
        elif name == "end-tap":
            del self._taps[values["tap"]]
            tap.over()

    def _tap_ended(self, number: int, failed: bool) -> None:
        """Tell that a tap has ended, with what its viewer has missed: this process may end soon."""

        def tell(counts: tuple[int, int | None]) -> None:
            self._tell("tap-ended", tap=number, failed=failed, missed=counts[1])

        self._taps.pop(number).over().addCallback(tell)

    async def _close_tap(self, number: int) -> dict[str, Any]:
        tap = self._taps.pop(number, None)
        if tap is None:
            raise BadRequest(404, f"There is no tap {number}.")
        lines, missed = await tap.over()
        return {"lines": lines, "missed": missed}

    async def _open_tap(self, question: Question) -> dict[str, Any]:
        self._last_tap += 1
        number = self._last_tap

        def write(data: bytes) -> None:
            self._tell("tap-line", tap=number, text=data.decode())

        def ended() -> None:
            self._tap_ended(number, failed=False)

        self._taps[number] = await self._answers.open_tap(question, write, ended)
        return {"tap": number}
