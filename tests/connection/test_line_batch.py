"""Lines about ended connections, written together: the same file as with one event for each."""

from __future__ import annotations

from io import StringIO
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import (
    FileLogObserver,
    Logger,
    LogLevel,
    eventAsJSON,
    formatEvent,
    globalLogPublisher,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import Recorder, end_figures
from twisted_net.connection import factory as factory_module
from twisted_net.connection import line_batch
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.line_batch import LineBatch
from twisted_net.eager import privates
from twisted_net.policy.close_reasons import KICKED
from twisted_net.testing import connect_peer

LOG = Logger("twisted_net.connection.factory")
NOW = 1_000_000_000.0


class RunningClock(Clock):
    """A clock that says that it is a reactor that runs. The test ends its turns."""

    running = True

    def __init__(self) -> None:
        super().__init__()
        self._at_end: list[Any] = []

    def callLater(self, delay: float, call: Any, *args: Any, **kw: Any) -> Any:
        if getattr(call, "__func__", None) is not LineBatch._end_turn:
            return super().callLater(delay, call, *args, **kw)
        assert not (delay or args or kw)
        self._at_end.append(call)
        return None

    @property
    def waits(self) -> bool:
        """Whether something is to be done at the end of the turn."""
        return bool(self._at_end)

    def end_turn(self) -> None:
        calls, self._at_end = self._at_end, []
        for call in calls:
            call()


class File(StringIO):
    """A file that counts writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


class BatchTestCase(SynchronousTestCase):
    """Twisted's log has the observers that a test gives it, and no others."""

    def setUp(self) -> None:
        self.clock = RunningClock()
        self.file = File()
        self.observer = textFileLogObserver(self.file)
        self.now = NOW
        self.hooks: list[Any] = []  # of the process
        self.patch(line_batch.atexit, "register", self.hooks.append)
        self.patch(line_batch.os, "register_at_fork", lambda *, before: self.hooks.append(before))
        self.patch(line_batch, "time", lambda: self.now)
        batch = LineBatch(LOG)
        self.patch(factory_module, "_ends", batch)
        self.batch = batch
        self.factory = ConnectionFactory.forProtocol(Recorder, clock=cast(Any, self.clock))
        self.observe(self.observer)

    def observe(self, *observers: Any) -> None:
        """Replace the observers of the log."""
        actual = list(privates.log_observers())
        for observer in actual:
            globalLogPublisher.removeObserver(observer)
        for observer in observers:
            globalLogPublisher.addObserver(observer)

        def restore() -> None:
            for observer in observers:
                globalLogPublisher.removeObserver(observer)
            for observer in actual:
                globalLogPublisher.addObserver(observer)

        self.addCleanup(restore)

    def end(self, detail: str = "") -> None:
        """Let a connection end: by itself, or kicked with a detail."""
        peer = connect_peer(self.factory)
        peer.send(b"hello\n")
        if detail:
            peer.protocol.close(KICKED, detail)
        peer.write_eof()

    def lines(self) -> list[str]:
        """Return what is in the file, without the times."""
        return [line.partition(" ")[2] for line in self.file.getvalue().splitlines()]


HELLO = end_figures(received=(6, 1))
BEGINNING = "[twisted_net.connection.factory#info] Connection {} from 192.0.2.2:54321 ended: "
ENDED = f"{BEGINNING}peer-closed{HELLO}"
KICK = f"{BEGINNING}kicked ({{}}){HELLO}"


class LineBatchTests(BatchTestCase):
    def test_one_write_a_turn(self) -> None:
        """What ends in a turn is written at its end, in one piece and in order."""
        for _ in range(3):
            self.end()
        self.end("by ann")
        self.assertEqual(self.lines(), [])
        self.clock.end_turn()
        self.assertEqual(
            self.lines(), [*(ENDED.format(n) for n in (1, 2, 3)), KICK.format(4, "by ann")]
        )
        self.assertEqual(self.file.writes, 1)
        self.end()
        self.clock.end_turn()
        self.assertEqual(self.lines()[4:], [ENDED.format(5)])

    def test_the_same_bytes(self) -> None:
        """Each line is what Twisted writes for the event, whatever is in it."""
        details = [
            "",
            "by ann",
            "{braces} %s %(x)s",
            "two\nlines",
            "ünïcode ☃",
            "\udc80",
            "\\",
            "(",
        ]
        for detail in details:
            self.end(detail)
            self.now += 0.7
        self.clock.end_turn()
        together, events = self.file.getvalue(), []
        single = File()
        self.observe(textFileLogObserver(single), events.append)
        self.patch(line_batch, "time", None)  # nothing is batched
        self.factory = ConnectionFactory.forProtocol(Recorder, clock=cast(Any, self.clock))
        for detail in details:
            self.end(detail)

        def without_times(text: str) -> list[str]:
            return [line.partition(" ")[2] for line in text.split("\n")]

        self.assertEqual(without_times(together), without_times(single.getvalue()))
        self.assertEqual(len(events), len(details))

    def test_names(self) -> None:
        """A user's name is in the line, as in the text of the event."""

        class Named(Recorder):
            def name_for_log(self) -> str:
                return names[self.id - 1]

        names = ["ann", "Straße", ""]
        self.factory = ConnectionFactory.forProtocol(Named, clock=cast(Any, self.clock))
        for _ in names:
            self.end()
        self.clock.end_turn()
        users = [f", user {name}" if name else "" for name in names]
        expected = [
            f"{BEGINNING.format(number)}peer-closed{user}{HELLO}"
            for number, user in enumerate(users, 1)
        ]
        self.assertEqual(self.lines(), expected)

    def test_times(self) -> None:
        """Each line has the time of its end, and not of its writing."""
        self.end()
        self.now += 1
        self.end()
        self.now += 100
        self.clock.end_turn()
        times = [line.partition(" ")[0] for line in self.file.getvalue().splitlines()]
        expected = File()
        for now in (NOW, NOW + 1):
            textFileLogObserver(expected)({"log_format": "x", "log_time": now})
        self.assertEqual(times, [line.split()[0] for line in expected.getvalue().splitlines()])

    def test_order(self) -> None:
        """Any other line comes behind the ends before it."""
        self.end()
        LOG.info("one")
        self.end()
        self.end()
        LOG.warn("two")
        LOG.warn("three")
        self.end()
        self.clock.end_turn()
        numbers_and_words = [
            line.split()[2 if "Connection" in line else -1] for line in self.lines()
        ]
        self.assertEqual(numbers_and_words, ["1", "one", "2", "3", "two", "three", "4"])

    def test_a_hook_that_fails(self) -> None:
        """A traceback comes behind the ends before it too."""
        self.end()
        peer = connect_peer(self.factory)
        peer.send(b"fail\n")
        peer.write_eof()
        self.clock.end_turn()
        text = self.file.getvalue()
        places = [
            text.index(each)
            for each in (
                "Connection 1 from",
                "a hook failed",
                "Traceback",
                "Connection 2 from 192.0.2.2:54321 ended",
            )
        ]
        self.assertEqual(places, sorted(places))

    def test_the_end_of_the_process(self) -> None:
        """What waits is written before the process ends or forks, without a turn."""
        for number in (1, 2):
            self.end()
            self.hooks[number - 1]()
            self.assertEqual(len(self.lines()), number)
        self.clock.end_turn()
        self.assertEqual((len(self.hooks), len(self.lines())), (2, 2))

    def test_a_file_that_cannot_be_written(self) -> None:
        """A failure to write is reported as Twisted does, and later lines are written."""
        self.end()
        self.file.write = cast(Any, lambda text: 1 / 0)  # type: ignore[method-assign]
        self.clock.end_turn()
        del self.file.write
        self.end()
        self.clock.end_turn()
        self.assertEqual(self.lines(), [ENDED.format(2)])

    def test_a_closed_file(self) -> None:
        """A file that is closed ends no connection with an error."""
        self.file.close()
        self.end()
        self.clock.end_turn()
        self.end()
        self.assertEqual(self.factory.endings, {"peer-closed": 2})


class OtherObserverTests(BatchTestCase):
    """With other observers, each event is emitted at once."""

    def events_with(self, *observers: Any) -> list[Any]:
        events: list[Any] = []
        self.observe(*observers, events.append)
        self.end("by ann")
        return events

    def test_an_observer_sees_events(self) -> None:
        """Observers see the fields that ``/ended`` has, and no brackets around them."""
        (event,) = self.events_with()
        self.assertFalse(self.clock.waits)
        self.assertEqual(
            {key: value for key, value in event.items() if not key.startswith("log_")},
            {
                "id": 1,
                "peer": "192.0.2.2:54321",
                "reason": "kicked",
                "detail": "by ann",
                "name": "",
                "seconds": 0.0,
                "bytes_received": 6,
                "bytes_sent": 0,
                "messages_received": 1,
                "messages_sent": 0,
            },
        )
        self.assertEqual(event["log_level"], LogLevel.info)
        beginning = "Connection {id} from {peer} ended: {reason} ({detail}), {seconds} s, "
        self.assertTrue(event["log_format"].startswith(beginning), event["log_format"])
        self.assertEqual(
            formatEvent(event),
            f"Connection 1 from 192.0.2.2:54321 ended: kicked (by ann){HELLO}",
        )

    def test_beside_a_file(self) -> None:
        """The file has the line as well, at once."""
        self.events_with(self.observer)
        self.assertEqual(self.lines(), [KICK.format(1, "by ann")])

    def test_an_observer_that_comes_later(self) -> None:
        """One that is added in the middle of a turn sees what ends from then on."""
        self.end()
        events = self.events_with(self.observer)
        self.assertEqual([event["id"] for event in events], [2])
        self.assertEqual(self.lines(), [ENDED.format(1), KICK.format(2, "by ann")])

    def test_other_formats(self) -> None:
        """JSON, times with fractions and formats of one's own are written by their observers."""
        for observer in (
            jsonFileLogObserver(self.file),
            textFileLogObserver(self.file, "%H:%M:%S.%f"),
            FileLogObserver(self.file, lambda event: eventAsJSON(event) + "\n"),
            type("Own", (FileLogObserver,), {})(self.file, self.observer.formatEvent),
        ):
            self.observe(observer)
            writes = self.file.writes
            self.end()
            self.assertEqual(self.file.writes, writes + 1, observer)

    def test_a_format_without_times(self) -> None:
        """A text without times works as well."""
        self.observe(textFileLogObserver(self.file, None))
        self.end()
        self.clock.end_turn()
        self.assertEqual(self.file.getvalue(), f"- {ENDED.format(1)}\n")

    def test_a_clock_that_does_not_run(self) -> None:
        """Without a running reactor there is no turn to wait for."""
        self.clock.running = False
        self.end()
        self.assertEqual(self.lines(), [ENDED.format(1)])
        self.factory.clock = Clock()
        self.end()
        self.assertEqual(len(self.lines()), 2)

    def test_a_reactor_that_stops_in_the_turn(self) -> None:
        """What waits when the reactor stops comes before the next line."""
        self.end()
        self.clock.running = False
        self.end()
        self.assertEqual(self.lines(), [ENDED.format(1), ENDED.format(2)])

    def test_without_the_private_name(self) -> None:
        """If the observers cannot be found, each event is emitted."""
        self.patch(line_batch, "log_observers", list)
        self.end()
        self.assertEqual(self.lines(), [ENDED.format(1)])

    def test_the_observer_is_left_and_used_again(self) -> None:
        """An observer that was replaced for a while takes lines again."""
        other = File()
        for file, observer in ((self.file, self.observer), (other, textFileLogObserver(other))) * 2:
            self.observe(observer)
            self.end()
            self.end()
            writes = file.writes
            self.clock.end_turn()
            self.assertEqual(file.writes, writes + 1)
        self.assertEqual((len(self.lines()), len(other.getvalue().splitlines())), (4, 4))
