"""Tests for :mod:`twisted_net.web.admin.site`: what operators ask and do."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent, globalLogPublisher

from tests.connection.recording import Recorder
from tests.web.admin.operating import LOOPBACK, AdminCase, Answer, FailingStore, request_bytes
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.privates import log_observers
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.testing import connect_peer
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.web.admin import log_level as log_level_module
from twisted_net.web.admin import slices
from twisted_net.web.admin.log_level import log_level, set_log_level
from twisted_net.web.admin.views import CannotReload
from twisted_net.web.bounded_request import MOST_BODY

ELSEWHERE = IPv4Address("TCP", "192.0.2.1", 9191)


class AnswersTests(AdminCase):
    """Every answer."""

    def setUp(self) -> None:
        super().setUp()
        self.view = self.watch(self.recorders())

    def test_strict_headers(self) -> None:
        """Whatever the answer is, browsers may do nothing with it but show it."""
        for path in ("/", "/metrics", "/nothing", "/connections", "/dashboard.js", "/healthz"):
            answer = self.ask(path)
            policy = answer.headers["content-security-policy"]
            for part in ("default-src 'none'", "frame-ancestors 'none'", "trusted-types 'none'"):
                self.assertIn(part, policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["cache-control"], "no-store")
            for name in answer.headers:
                self.assertFalse(name.startswith("access-control-"), name)
            self.assertNotIn("set-cookie", answer.headers)

    def test_methods(self) -> None:
        """A path answers its methods; others get 405 with a list, and nothing happens."""
        for path, method, allowed in (
            ("/metrics", "POST", "GET"),
            ("/drain", "GET", "POST"),
            ("/bans", "DELETE", "GET, POST"),
            ("/", "POST", "GET"),
            ("/metrics", "OPTIONS", "GET"),
        ):
            answer = self.ask(path, method, X_Netchat_Admin="1")
            self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed))
            work = "GET and POST work" if "," in allowed else f"{allowed} works"
            self.assertEqual(answer.json()["error"], f"Only {work} here.")
        self.assertFalse(self.view.service.is_draining)

    def test_head(self) -> None:
        """HEAD is GET without a body, and begins no tap."""
        connect_peer(self.view.factory)
        for path in ("/metrics", "/connections", "/connections/1/tap", "/"):
            answer = self.ask(path, "HEAD")
            self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertNotIn("write", vars(self.view.factory.connections[1].transport))

    def test_unknown_paths(self) -> None:
        """They get 404, and so do connections that are not there."""
        for path in (
            *("/x", "/metrics/", "//", "/connections/", "/connections/x", "/connections/-1"),
            *("/connections/1", "/connections/1/tap", "/connections/1/x", "/../etc/passwd"),
            f"/connections/{'9' * 30}",
        ):
            self.assertEqual(self.ask(path).status, 404, path)

    def test_access(self) -> None:
        """The rules of access hold for real requests."""
        self.assertEqual(self.ask("/metrics", Host="evil.example").status, 403)
        self.assertEqual(self.ask("/metrics", Origin="http://evil.example").status, 403)
        self.assertEqual(self.ask("/metrics", Sec_Fetch_Site="cross-site").status, 403)
        self.assertEqual(self.ask("/metrics", host=ELSEWHERE).status, 403)
        self.assertEqual(self.ask("/drain", "POST", X_Netchat_Admin="").status, 403)
        self.assertEqual(self.ask("/healthz", Host="evil.example", host=ELSEWHERE).status, 200)
        self.token = b"0123456789abcdef"
        answer = self.ask("/metrics")
        self.assertEqual((answer.status, answer.headers["www-authenticate"]), (401, "Bearer"))
        known = {"Authorization": "Bearer 0123456789abcdef"}
        self.assertEqual(self.ask("/metrics", host=ELSEWHERE, **known).status, 200)
        self.assertFalse(self.view.service.is_draining)

    def test_bodies(self) -> None:
        """A body that is too large or wrong is an error in one sentence."""
        for body, text in (
            (b"{", "no JSON"),
            (b"[1]", "no JSON object"),
            (b'{"x":1}', "x: is unknown"),
            (b'{"target":1}', "target: must be text"),
            (b'{"target":"a","minutes":"1"}', "minutes: must be"),
            (b'{"target":"a","minutes":-1}', "minutes: must be"),
            (b'{"target":"a","minutes":true}', "minutes: must be"),
            (b"[" * 3000, "no JSON"),
            (b"", "target: must be"),
        ):
            answer = self.ask("/bans", "POST", body)
            self.assertEqual(answer.status, 400, body)
            self.assertIn(text, answer.json()["error"])
        large = self.ask("/bans", "POST", b"x" * (MOST_BODY + 1))
        self.assertEqual(large.status, 413)
        chunk = b"%x\r\n%s\r\n" % (MOST_BODY // 2, b"x" * (MOST_BODY // 2))
        request = request_bytes("/bans", "POST", Content_Length="", Transfer_Encoding="chunked")
        peer = self.open(request + 3 * chunk)
        self.assertIn(b" 413 ", peer.received)
        self.assertFalse(peer.connected)

    def test_a_form(self) -> None:
        """What its body says is no argument: only the URL chooses the service."""
        first, second = self.view, self.watch(self.recorders(), name="second")
        self.show(first, second)
        peers = [connect_peer(view.factory, clock=self.clock) for view in (first, second)]
        text = "see a&service=second&b"
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = self.ask("/drain?service=a%26b", "POST", b"", Content_Type=kind)
            self.assertIn("'a&b'", answer.json()["error"])
        answer = self.ask(
            *("/connections/1/close", "POST", {"text": text}),
            Content_Type="application/x-www-form-urlencoded",
        )
        self.assertEqual(answer.status, 200)
        closing = [peer.protocol.reason is not None for peer in peers]
        self.assertEqual(closing, [True, False])

    def test_no_text(self) -> None:
        """Headers that are no UTF-8 are as wrong as others, and nothing is logged."""
        self.token = b"0123456789abcdef"
        for name, status in ((b"Authorization", 401), (b"Origin", 403), (b"Sec-Fetch-Site", 403)):
            peer = self.open(b"GET /metrics HTTP/1.1\r\nHost: [::1]\r\n%s: \xff\xfe\r\n\r\n" % name)
            self.assertIn(b" %d " % status, peer.received.splitlines()[0])
        peer = self.open(b"GET /metrics HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n")
        self.assertIn(b" 403 ", peer.received.splitlines()[0])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_many_requests_at_once(self) -> None:
        """Each is answered in a turn of its own, so that everything else goes on."""
        peer = connect_peer(self.site, clock=self.clock, host=LOOPBACK)
        answers = []
        self.patch(
            type(self.view),
            "not_ready",
            property(lambda self: answers.append(self) or ""),  # type: ignore[func-returns-value]
        )
        peer.protocol.dataReceived(request_bytes("/readyz") * 10)
        for count in range(1, 11):
            self.one_turn()
            self.assertEqual(len(answers), count)
        self.assertEqual(peer.received.count(b"HTTP/1.1 200"), 10)

    def test_a_mistake_of_the_server(self) -> None:
        """It is logged, and the answer is as strict as others."""
        self.patch(type(self.view), "not_ready", property(lambda self: 1 / 0))
        answer = self.ask("/readyz")
        self.assertEqual(answer.status, 500)
        self.assertIn("content-security-policy", answer.headers)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class HealthTests(AdminCase):
    def test_readiness(self) -> None:
        """503 and why, while it drains; health does not change."""
        view = self.watch(self.recorders())
        self.assertEqual((self.ask("/readyz").status, self.ask("/readyz").body), (200, b"ready\n"))
        peer = connect_peer(view.factory)
        answer = self.do("/drain")
        self.assertEqual(answer.json(), {"done": "netecho is draining.", "open": 1})
        self.assertFalse(view.factory.accepts)
        peer.turn()
        self.assertEqual(peer.protocol.reason.code, "draining")
        answer = self.ask("/readyz")
        self.assertEqual((answer.status, answer.body), (503, b"netecho is draining\n"))
        self.assertEqual(self.ask("/healthz").status, 200)
        self.assertEqual(self.do("/drain").status, 200, "again")

    def test_upgrade(self) -> None:
        """The answer comes when the new code goes on, or has failed; without a way, it is 501."""
        view = self.watch(self.recorders())
        answer = self.do("/upgrade")
        self.assertEqual(answer.status, 501)
        self.assertEqual(answer.json(), {"error": "netecho cannot be upgraded in place."})
        attempts: list[Deferred[str]] = []

        def upgrade() -> Deferred[str]:
            attempts.append(Deferred())
            return attempts[-1]

        view.upgrade = upgrade
        asked = [self.open(request_bytes("/upgrade", "POST", {})) for _ in range(3)]
        self.assertEqual([peer.received for peer in asked], [b"", b"", b""])
        asked[2].reset()
        attempts[0].callback("Process 7 goes on.")
        attempts[1].errback(UpgradeFailed("it is late"))
        attempts[2].callback("Process 8 goes on.")
        self.assertEqual(Answer(asked[0].received).json(), {"done": "Process 7 goes on."})
        failed = Answer(asked[1].received)
        self.assertEqual(failed.status, 409)
        self.assertEqual(failed.json(), {"error": "The upgrade has failed: it is late."})

    def test_bans_go_on(self) -> None:
        """The bans of operators end when they would have ended, in the new process."""
        admissions = [Admission(AdmissionRules()) for _ in range(2)]
        views = []
        for admission in admissions:
            factory = self.recorders()
            factory.admission = admission
            views.append(self.watch(factory))
        self.successResultOf(Deferred.fromCoroutine(views[0].ban("192.0.2.0/24", 2, "")))
        self.clock.advance(60)
        views[1].restore_state(views[0].export_state())
        self.assertTrue(admissions[1].denies("192.0.2.1"))
        self.clock.advance(59)
        self.assertTrue(admissions[1].denies("192.0.2.1"))
        self.clock.advance(2)
        self.assertFalse(admissions[1].denies("192.0.2.1"))

    def test_not_listening(self) -> None:
        """A service whose listeners do not all listen is not ready."""
        view = self.watch(self.recorders())
        view.service.listeners = [object()]
        self.assertEqual(self.ask("/readyz").body, b"netecho does not listen\n")

    def test_after_an_upgrade(self) -> None:
        """Who still asks the old process hears that new clients are served: by the new one."""
        service = self.watch_chat(store=FailingStore("Redis at h:1: it is full")).service
        service.release_ports()
        service.begin_drain()
        self.assertEqual(self.ask("/readyz").status, 200)
        service.startService()
        self.assertEqual(self.ask("/readyz").status, 503)

    def test_a_store_in_trouble(self) -> None:
        """A service whose store, of any kind, is in trouble is not ready, and says why."""
        store = FailingStore("Redis at h:1: it is full")
        self.watch_chat(store=store)
        answer = self.ask("/readyz")
        self.assertEqual(
            (answer.status, answer.body), (503, b"netchat: Redis at h:1: it is full\n")
        )
        store.trouble = ""
        self.assertEqual(self.ask("/readyz").status, 200)


class ConnectionsTests(AdminCase):
    def test_a_page(self) -> None:
        """A hundred connections by default, and where the next page begins."""
        view = self.watch(self.recorders())
        for _ in range(250):
            connect_peer(view.factory, clock=self.clock)
        pages, path = [], "/connections"
        while path:
            page = self.ask(path).json()
            pages.append([row["id"] for row in page["connections"]])
            self.assertEqual(page["total"], 250)
            path = page["next"] and f"/connections?after={page['next']}"
        self.assertEqual([len(page) for page in pages], [100, 100, 50])
        self.assertEqual([id for page in pages for id in page], list(range(1, 251)))

    def test_an_order(self) -> None:
        """By a figure, the largest first, over several pages."""
        view = self.watch(self.recorders())
        peers = [connect_peer(view.factory, clock=self.clock) for _ in range(7)]
        for peer, size in zip(peers, (3, 1, 4, 1, 5, 9, 2), strict=True):
            peer.send(b"x" * size + b"\n")
        pages, path = [], "/connections?sort=bytes_received&limit=3"
        while path:
            page = self.ask(path).json()
            pages.append([row["id"] for row in page["connections"]])
            more = page["next"]
            path = more and f"/connections?sort=bytes_received&limit=3&after={more}"
        self.assertEqual(pages, [[6, 5, 3], [1, 7, 2], [4]])

    def test_a_row(self) -> None:
        """What stands in it, and what stands besides on the connection's own page."""
        view = self.watch(self.recorders())
        peer = connect_peer(view.factory, clock=self.clock)
        peer.send(b"say hello\n")
        self.clock.advance(90)
        (row,) = self.ask("/connections").json()["connections"]
        self.assertEqual(
            row,
            {
                "id": 1,
                "service": "netecho",
                "peer": row["peer"],
                "form": "bytes",
                "state": "open",
                "seconds": 90,
                "bytes_received": 10,
                "bytes_sent": 6,
                "messages_received": 1,
                "messages_sent": 1,
                "queued": 0,
            },
        )
        details = self.ask("/connections/1").json()
        self.assertLessEqual(row.items(), details.items())
        self.assertEqual((details["tls"], details["unsent"], details["closing"]), ("", 0, None))

    def test_wrong_arguments(self) -> None:
        """Each is named."""
        self.watch(self.recorders())
        for query in (
            "bogus=1",
            "sort=x",
            "limit=0",
            "limit=1001",
            "limit=x",
            "after=x",
            "after=1:x",
        ):
            answer = self.ask(f"/connections?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertTrue(answer.json()["error"].startswith(query.partition("=")[0]))
        self.assertEqual(self.ask("/connections?service=x").status, 404)
        self.assertEqual(self.ask("/connections?service=netecho").status, 200)

    def test_closing(self) -> None:
        """An operator closes a connection, says why, and the log has both."""
        view = self.watch(self.recorders())
        peer = connect_peer(view.factory, clock=self.clock)
        with capturedLogs() as logs:
            self.assertEqual(self.do("/connections/1/close", text="too loud\n").status, 200)
        peer.turn()
        self.assertEqual(peer.protocol.reason.code, "kicked")
        self.assertEqual(peer.protocol.detail, "too loud")
        lines = [str(formatEvent(event)) for event in logs]
        self.assertTrue(any("closes connection 1: too loud" in line for line in lines), lines)
        self.assertEqual(self.do("/connections/9/close").status, 404)

    def test_seconds(self) -> None:
        """They are exact to a tenth, as in the log, which has the same fields as a row."""
        view = self.watch(self.recorders())
        peer = connect_peer(view.factory, clock=self.clock)
        with capturedLogs() as events:
            for passed, shown in ((0.8, 0.8), (1.1, 1.9)):
                self.clock.advance(passed)
                (row,) = self.ask("/connections").json()["connections"]
                self.assertEqual(row["seconds"], shown)
                self.assertEqual(self.ask("/connections/1").json()["seconds"], shown)
            peer.send(b"hi\n")
            peer.write_eof()
        (ended,) = self.ask("/ended").json()["ended"]
        (event,) = (each for each in events if each.get("reason") == "peer-closed")
        same = sorted(ended.keys() - {"form", "service", "time"})
        self.assertEqual([event[name] for name in same], [ended[name] for name in same])
        self.assertEqual(event["seconds"], 1.9)

    def test_a_service_without_rooms(self) -> None:
        """It says so, instead of an empty list."""
        self.watch(self.recorders())
        answer = self.ask("/connections?room=tea")
        self.assertEqual((answer.status, answer.json()["error"]), (400, "netecho has no rooms."))

    def test_ended_connections(self) -> None:
        """The last hundred and why, the newest first."""
        view = self.watch(self.recorders())
        for number in range(105):
            peer = connect_peer(view.factory, clock=self.clock)
            self.clock.advance(2)
            peer.send(b"close\n" if number % 2 else b"hi\n")
            peer.write_eof()
        ended = self.ask("/ended").json()["ended"]
        self.assertEqual([row["id"] for row in ended], list(range(105, 5, -1)))
        self.assertEqual(ended[0]["reason"], "peer-closed")
        self.assertEqual(ended[1]["reason"], "closed")
        self.assertEqual((ended[0]["seconds"], ended[0]["bytes_received"]), (2, 3))
        self.assertEqual((ended[0]["time"], ended[0]["messages_received"]), (5.0, 1))


class ChatTests(AdminCase):
    def setUp(self) -> None:
        super().setUp()
        self.view = self.watch_chat()

    def enter(self, *lines: str) -> Any:
        peer = connect_peer(self.view.factory, clock=self.clock)
        peer.advance(1)
        for line in lines:
            peer.send(line.encode() + b"\n")
        peer.advance(1)
        return peer

    def test_rooms_and_names(self) -> None:
        """A page shows names and rooms, and can be that of one room."""
        self.enter("/nick ann", "/join tea")
        self.enter("/nick bob")
        self.enter('{"type":"hello","nick":"carl","room":"tea"}')
        rows = self.ask("/connections").json()["connections"]
        shown = [(row["name"], row["rooms"], row["form"]) for row in rows]
        self.assertEqual(shown[1:], [("bob", ["lobby"], "text"), ("carl", ["tea"], "json")])
        in_tea = self.ask("/connections?room=tea").json()["connections"]
        self.assertEqual([row["name"] for row in in_tea], ["ann", "carl"])
        for written in ("%23tea", "TEA", "%23T%65a", "%EF%BD%94ea"):
            found = self.ask(f"/connections?room={written}").json()["connections"]
            self.assertEqual(found, in_tea, written)
        unknown = self.ask("/connections?room=x")
        text = "There is no room #x here, or nobody is in it."
        self.assertEqual((unknown.status, unknown.json()["error"]), (404, text))
        wrong = self.ask("/connections?room=a%20b")
        self.assertEqual(wrong.status, 400)
        self.assertIn("A room's name", wrong.json()["error"])
        after = self.ask("/connections?room=x&after=1")  # all have left since the first page
        self.assertEqual(after.json()["connections"], [])
        rooms = self.ask("/rooms").json()["rooms"]
        self.assertEqual({row["name"]: row["members"] for row in rooms}, {"tea": 2, "lobby": 2})

    def test_bans(self) -> None:
        """An operator bans a name, sees it, and lifts it."""
        peer = self.enter("/nick bob")
        done = self.do("/bans", target="bob", minutes=5, text="spam").json()["done"]
        self.assertEqual(done, "bob is kept out for 5 minutes.")
        peer.turn()
        self.assertEqual(peer.protocol.reason.code, "kicked")
        (ban,) = self.ask("/bans").json()["bans"]
        self.assertEqual((ban["target"], ban["seconds"], ban["text"]), ("bob", 300, "spam"))
        done = self.do("/bans", target="bob", minutes=0).json()["done"]
        self.assertEqual(done, "bob may come in again.")
        self.assertEqual(self.ask("/bans").json(), {"bans": []})
        answer = self.do("/bans", target="127.0.0.1")
        self.assertEqual(answer.status, 400)
        self.assertIn("this machine itself", answer.json()["error"])


class BansTests(AdminCase):
    """Bans of a service without people: ranges of addresses."""

    def setUp(self) -> None:
        super().setUp()
        self.admission = Admission(AdmissionRules())
        factory = ConnectionFactory.forProtocol(
            Recorder, clock=self.clock, admission=self.admission
        )
        self.view = self.watch(factory)

    def test_for_some_minutes(self) -> None:
        """Open connections of the range end, and new ones are refused until the ban ends."""
        peer = connect_peer(self.view.factory, clock=self.clock)
        host = peer.getPeer().host
        network = f"{host.rpartition('.')[0]}.0/24"
        answer = self.do("/bans", target=network, minutes=1)
        self.assertIn("; 1 connection closed.", answer.json()["done"])
        self.assertEqual(peer.protocol.reason.code, "denied")
        self.assertEqual(self.ask("/bans").json()["bans"][0]["seconds"], 60)
        self.assertTrue(self.admission.denies(host))
        self.clock.advance(61)
        self.assertFalse(self.admission.denies(host))
        self.assertEqual(self.ask("/bans").json(), {"bans": []})

    def test_who_bans_goes_away(self) -> None:
        """The ban goes on: all connections of the range end, and the log says who it was."""
        self.patch(slices, "SLICE", 2)
        peers = [connect_peer(self.view.factory, clock=self.clock) for _ in range(5)]
        body = {"target": peers[0].getPeer().host, "minutes": 1}
        with capturedLogs() as logs:
            asked = connect_peer(self.site, clock=self.clock, host=LOOPBACK)
            asked.protocol.dataReceived(request_bytes("/bans", "POST", body))
            self.one_turn()
            asked.reset()
            for _ in range(5):
                self.one_turn()
        reasons = [peer.protocol.reason.code for peer in peers]
        self.assertEqual(reasons, ["denied"] * 5)
        lines = [str(formatEvent(event)) for event in logs]
        self.assertIn("5 connections closed.", " ".join(line for line in lines if "bans" in line))

    def test_lifting(self) -> None:
        """A ban is lifted by 0 minutes; one that is not there is none."""
        self.do("/bans", target="192.0.2.0/24", minutes=1)
        done = self.do("/bans", target="192.0.2.0/24", minutes=0).json()["done"]
        self.assertEqual(done, "192.0.2.0/24 may connect again.")
        self.assertEqual(self.do("/bans", target="192.0.2.0/24", minutes=0).json()["done"],
                         "192.0.2.0/24 was not banned.")  # fmt: skip
        self.assertFalse(self.view.factory.admission.denied)

    def test_a_longer_ban_replaces(self) -> None:
        """The last ban of a range counts."""
        for minutes in (1, 3):
            self.do("/bans", target="192.0.2.0/24", minutes=minutes)
        self.clock.advance(100)
        self.assertTrue(self.admission.denies("192.0.2.7"))

    def test_what_deny_has_stays(self) -> None:
        """A ban for some minutes would end what ``--deny`` has for ever."""
        self.admission.denied.add("192.0.2.0/24")
        answer = self.do("/bans", target="192.0.2.0/24", minutes=1)
        self.assertEqual(answer.status, 400)
        self.assertIn("--deny", answer.json()["error"])

    def test_no_range(self) -> None:
        """A name is none."""
        self.assertEqual(self.do("/bans", target="bob").status, 400)


class TapTests(AdminCase):
    def setUp(self) -> None:
        super().setUp()
        self.view = self.watch(self.recorders())
        self.peer = connect_peer(self.view.factory, clock=self.clock)

    def tap(self) -> Any:
        return self.open(request_bytes("/connections/1/tap"))

    def lines(self, viewer: Any) -> list[dict[str, Any]]:
        """Return the lines that have arrived, without their times."""
        found = [json.loads(line) for line in viewer.received.split(b"\r\n") if line[:1] == b"{"]
        for line in found:
            line.pop("time", None)
        return found

    def test_looking_on(self) -> None:
        """The viewer sees what is said and heard, and the log says who looked."""
        with capturedLogs() as logs:
            viewer = self.tap()
            self.peer.send(b"say hello\n")
            viewer.turn()
            self.assertEqual(
                self.lines(viewer)[1:],
                [
                    {"dir": "in", "size": 9, "text": "say hello"},
                    {"dir": "out", "size": 5, "text": "hello"},
                ],
            )
            viewer.reset()
        self.assertNotIn("write", vars(self.peer))
        lines = [str(formatEvent(event)) for event in logs]
        self.assertTrue(any(line.endswith("looks on at connection 1") for line in lines), lines)
        self.assertTrue(any(line.endswith("3 lines, 0 missed") for line in lines), lines)

    def test_one_viewer(self) -> None:
        """A second one is refused, until the first has gone."""
        viewer = self.tap()
        self.assertEqual(self.ask("/connections/1/tap").status, 409)
        viewer.reset()
        self.assertIn(b" 200 ", self.tap().received)

    def test_the_connection_ends(self) -> None:
        """The viewer hears why, and the request is over."""
        viewer = self.tap()
        self.peer.send(b"close\n")
        self.peer.write_eof()
        viewer.turn()
        self.assertEqual(self.lines(viewer)[-1], {"ended": "closed"})
        self.assertTrue(viewer.received.endswith(b"0\r\n\r\n"))
        self.assertEqual(self.ask("/connections/1/tap").status, 404)

    def test_a_viewer_who_does_not_read(self) -> None:
        """What waits is bounded, and the connection does not notice."""
        viewer = self.tap()
        viewer.full()
        for _ in range(600):
            self.peer.send(b"say " + b"x" * 1000 + b"\n")
            self.peer.take()
        self.assertIsNone(self.peer.protocol.reason)
        viewer.drain()
        viewer.turn()
        gaps = [line["gap"] for line in self.lines(viewer) if "gap" in line]
        self.assertEqual(len(gaps), 1)
        self.assertGreater(gaps[0], 500)

    def test_a_transport_that_cannot_be_watched(self) -> None:
        """Is told, and nothing has changed."""

        class Slotted:
            __slots__ = ("inner",)

            def __init__(self, inner: Any) -> None:
                self.inner = inner

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        own = self.peer.protocol.transport
        self.peer.protocol.transport = Slotted(own)
        self.assertEqual(self.ask("/connections/1/tap").status, 501)
        self.peer.protocol.transport = own
        self.assertNotIn("message_received", vars(self.peer.protocol))
        self.assertIn(b" 200 ", self.tap().received)

    def test_a_closing_connection(self) -> None:
        """There is nothing to look at any more."""
        self.peer.protocol.close()
        self.assertEqual(self.ask("/connections/1/tap").status, 409)


class ReloadTests(AdminCase):
    """The configuration that is read again."""

    def test_it_tells_what_has_changed(self) -> None:
        asked: list[str] = []

        def reload(who: str) -> str:
            asked.append(who)
            if len(asked) > 1:
                raise CannotReload("netecho: c.conf, line 3: rate x: must be a number")
            return "netecho: c.conf: changed: rate 1 -> 2"

        self.watch(self.recorders(), reload=reload)
        answer = self.do("/reload")
        self.assertEqual(answer.json(), {"done": "netecho: c.conf: changed: rate 1 -> 2"})
        self.assertEqual(self.ask("/reload").status, 405)
        self.assertEqual(self.ask("/reload", "POST", X_Netchat_Admin="").status, 403)
        self.assertEqual(self.do("/reload", config="x").status, 400)
        self.assertEqual(len(asked), 1)
        answer = self.do("/reload")
        text = "netecho: c.conf, line 3: rate x: must be a number; nothing has changed"
        self.assertEqual((answer.status, answer.json()["error"]), (400, text))
        self.assertTrue(asked[0].startswith("An operator from "))

    def test_a_service_without_a_configuration(self) -> None:
        """It is somebody's own, in a program of theirs."""
        self.watch(self.recorders())
        answer = self.do("/reload")
        text = "netecho has no configuration to read again."
        self.assertEqual((answer.status, answer.json()["error"]), (501, text))


class LogLevelTests(AdminCase):
    def test_it_changes(self) -> None:
        """Events below the level are not written any more, and then again."""
        seen: list[str] = []
        observer = lambda event: seen.append(str(formatEvent(event)))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(set_log_level, LogLevel.debug)
        self.watch(self.recorders())
        self.assertEqual(self.ask("/log-level").json(), {"level": "debug"})
        for level, written in (("warn", ["warn"]), ("info", ["info", "warn"])):
            self.assertEqual(self.do("/log-level", level=level).status, 200)
            self.assertIs(log_level(), LogLevel.levelWithName(level))
            seen.clear()
            for each in ("debug", "info", "warn"):
                getattr(Logger(), each)(each)
            self.assertEqual(seen, written)
        self.patch(log_level_module, "log_observers", list)
        self.assertEqual(self.do("/log-level", level="warn").status, 501)
        self.patch(log_level_module, "log_observers", log_observers)
        self.do("/log-level", level="debug")
        self.assertIs(log_level(), LogLevel.debug)
        self.assertEqual(self.do("/log-level", level="loud").status, 400)

    def test_what_operators_do_is_logged_at_every_level(self) -> None:
        """A change of the level itself, and whatever is done while the level is high."""
        seen: list[str] = []
        observer = lambda event: seen.append(str(formatEvent(event)))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(set_log_level, LogLevel.debug)
        factory = ConnectionFactory.forProtocol(
            Recorder, clock=self.clock, admission=Admission(AdmissionRules())
        )
        self.watch(factory)
        for level in ("info", "warn", "error", "critical", "warn", "debug", "critical"):
            seen.clear()
            self.do("/log-level", level=level)
            (line,) = seen
            self.assertRegex(line, f"^An operator from .* sets the log level to {level}$")
        peer = connect_peer(factory, clock=self.clock)
        seen.clear()
        viewer = self.open(request_bytes("/connections/1/tap"))
        viewer.reset()
        self.do("/connections/1/close", text="why")
        self.do("/bans", target="192.0.2.0/24", minutes=1)
        self.do("/drain")
        peer.turn()
        words = [line.partition(" from ")[2].split()[1] for line in seen]
        self.assertEqual(words, ["looks", "looks", "closes", "bans:", "drains"])


class NothingWithoutOperatorsTests(AdminCase):
    """What it costs while nobody operates."""

    def test_no_observer(self) -> None:
        """A factory has none by default, and again after the view has stopped."""
        factory = self.recorders()
        self.assertIsNone(factory.observer)
        view = self.watch(factory)
        self.assertIsNotNone(factory.observer)
        view.stop()
        self.assertIsNone(factory.observer)
