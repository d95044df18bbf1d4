"""Tests for :mod:`twisted_net.web.admin.access`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.web.admin.access import RequestFacts, find_refusal

TOKEN = b"0123456789abcdef"


def status(
    path: str = "/metrics",
    method: str = "GET",
    host: str | None = "localhost:9191",
    token: bytes | None = None,
    names: tuple[str, ...] = (),
    **facts: Any,
) -> int:
    """Return the status of a refusal, or 200."""
    hosts = () if host is None else (host,)
    found = find_refusal(
        RequestFacts(method, path, **{"hosts": hosts, **facts}), token=token, names=names
    )
    return 200 if found is None else found.status


class AccessTests(SynchronousTestCase):
    def test_this_machine(self) -> None:
        """Without a token, who comes over loopback or a Unix socket may ask."""
        self.assertEqual(status(), 200)
        self.assertEqual(status(is_local=False), 403)

    def test_hosts(self) -> None:
        """Addresses, names of loopback, and names that the operator has given."""
        for host in (
            "localhost",
            "LOCALHOST.:80",
            "a.localhost",
            "127.0.0.1",
            "[::1]:9",
            "10.0.0.7:1",
        ):
            self.assertEqual(status(host=host), 200, host)
        for host in (
            *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"),
            *(
                "localhost:",
                "localhost:123456",
                "localhost/x",
                "user@localhost",
                "[::1",
                "127.1.evil",
            ),
        ):
            self.assertEqual(status(host=host), 403, host)
            self.assertEqual(status("/", host=host), 403, host)
        self.assertEqual(status(host="chat.example:9", names=("chat.example",)), 200)
        self.assertEqual(status(host=None), 400)
        self.assertEqual(status(hosts=("localhost", "evil.example")), 400)

    def test_probes(self) -> None:
        """A load balancer needs neither a known host nor a token."""
        for path in ("/healthz", "/readyz"):
            self.assertEqual(status(path, host=None, token=TOKEN, is_local=False), 200)

    def test_token(self) -> None:
        """With a token, everything needs it, from this machine too; the page's files do not."""
        for header in ("", "Bearer", "Bearer x", f"Basic {TOKEN.decode()}", "Bearer \xe9"):
            self.assertEqual(status(token=TOKEN, authorization=header), 401)
        for is_local in (True, False):
            for header in (f"Bearer {TOKEN.decode()}", f"bearer {TOKEN.decode()} "):
                self.assertEqual(status(token=TOKEN, authorization=header, is_local=is_local), 200)
        self.assertEqual(status("/", token=TOKEN, is_local=False), 200)

    def test_pages_of_elsewhere(self) -> None:
        """They may neither change anything nor read or begin anything."""
        for origin in ("http://evil.example", "null", "http://localhost:9192", "http://localhost"):
            for method in ("GET", "POST"):
                self.assertEqual(status(method=method, origins=(origin,), admin="1"), 403)
        for site in ("cross-site", "same-site"):
            self.assertEqual(status("/connections/1/tap", fetch_site=site), 403)
        for site in ("none", "same-origin"):
            self.assertEqual(status(fetch_site=site), 200)
        for origin in ("http://localhost:9191", "HTTPS://localhost:9191"):
            self.assertEqual(status(method="POST", origins=(origin,), admin="1"), 200)
        self.assertEqual(status("/", fetch_site="cross-site"), 200, "somebody follows a link")

    def test_changes(self) -> None:
        """They need a header that pages of elsewhere cannot send."""
        for header in ("", "0", "yes"):
            self.assertEqual(status("/drain", "POST", admin=header), 403)
        self.assertEqual(status("/drain", "POST", admin="1"), 200)
