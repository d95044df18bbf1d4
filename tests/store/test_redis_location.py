"""The URLs of Redis: :mod:`twisted_net.store.redis.location` and what is made of them."""

from __future__ import annotations

import sys
from types import ModuleType
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.store.redis.location import RedisLocation, hide_password, parse_location
from twisted_net.store.redis.store import RedisStore
from twisted_net.store.url import store_from_url

SECRET = "geheim"

WRONG = (
    ("redis:", "redis: must be followed by //"),
    ("redis:localhost", "redis: must be followed by //"),
    ("rediss:/localhost", "rediss: must be followed by //"),
    ("redis://", "redis: the host is missing"),
    ("redis:///1", "redis: the host is missing"),
    ("redis://u:geheim@", "redis: the host is missing"),
    ("redis://h:0", "redis: port 0: must be a whole number from 1 to 65535"),
    ("redis://h:65536", "port 65536: "),
    ("redis://h:x", "port x: "),
    ("redis://h:", "port : "),
    ("redis://::1", "'::1' is no host"),
    ("redis://a b", "'a b' is no host"),
    ("redis://a,b", "takes one host; several are for redis+sentinel://"),
    ("redis://h/x", "database x: must be a whole number"),
    ("redis://h/-1", "database -1: "),
    ("redis://h/1/2", "database 1/2: "),
    ("redis://geheim@h", "the password is missing"),
    ("redis://user:@h", "the password is missing"),
    ("redis://u:ge/heim@h", "a / in the user name or the password must be written as %2F"),
    ("redis://u:geheim/@h", "must be written as %2F"),
    ("redis://u:ge?heim@h", "a ? in the user name or the password must be written as %3F"),
    ("redis://u:ge#heim@h", "a # in the password must be written as %23"),
    ("redis://u:ge@heim@h", "an @ in the user name or the password must be written as %40"),
    ("redis://u:ge:heim@h", "a : in the user name or the password must be written as %3A"),
    ("redis://u:geheim%@h", "a % in the user name or the password must be written as %25"),
    ("redis://h?prefix=", "prefix=: must have 1 to 64 letters"),
    ("redis://h?prefix=a{b", "prefix=a{b: must have"),
    ("redis://h?timeout=0", "timeout=0: must be a number of seconds from 0.1 to 60"),
    ("redis://h?wait=-1", "wait=-1: must be a whole number from 0 to 100"),
    ("redis://h?count=0", "count=0: "),
    ("redis://h?bytes=x", "bytes=x: "),
    ("redis://h?age=-1", "age=-1: "),
    ("redis://h?rooms=0", "rooms=0: "),
    ("redis://h?durable=power", "durable: this store has no such option"),
    ("redis://h?count=1&count=2", "count: given twice"),
    ("redis://h?cafile=x", "cafile: requires rediss://"),
    ("rediss://h?cafile=", "cafile=: must be the path of a PEM file"),
    ("redis+sentinel://h", "the name of the service is missing"),
    ("redis+sentinel://h,/chat", "'' is no host"),
    ("redis+sentinel://h,h:99999/chat", "port 99999: "),
    ("redis+sentinel://h/chat/x", "database x: "),
    ("redis+cluster://h", "a store must be memory:, sqlite:PATH or redis://HOST"),
)  # fmt: skip


class LocationTests(SynchronousTestCase):
    def parse(self, url: str, **options: str) -> RedisLocation:
        return parse_location(url, options)

    def test_everything_that_a_url_may_have(self) -> None:
        """Each part of a URL is understood, with what it is if it is left out."""
        parse = self.parse
        self.assertEqual(parse("redis://h"), RedisLocation((("h", 6379),)))
        self.assertEqual(
            parse("rediss://a%40b:c%2Fd@[::1]:7/2", cafile="ca.pem", prefix="p", timeout="0.5"),
            RedisLocation(
                (("::1", 7),), "", "a@b", "c/d", 2, True, "ca.pem", prefix="p", timeout=0.5
            ),
        )
        self.assertEqual(
            parse("redis+sentinel://:pw@a,b:1/chat/3", wait="2"),
            RedisLocation((("a", 26379), ("b", 1)), "chat", "", "pw", 3, wait=2),
        )
        self.assertEqual(parse("redis://h/").db, 0)

    def test_what_is_wrong(self) -> None:
        """Each mistake is one line that names the part, and never shows the password."""
        for url, text in WRONG:
            error = str(self.assertRaises(ValueError, store_from_url, url, Clock()))
            self.assertIn(text, error, url)
            self.assertNotIn("\n", error)
            for part in ("geheim", "heim"):
                self.assertNotIn(part, error, url)

    def test_a_store_is_made(self) -> None:
        """A URL of Redis gives a store that is not connected yet."""
        store = store_from_url("redis://h?count=5", Clock())
        self.assertIsInstance(store, RedisStore)

    def test_without_hiredis(self) -> None:
        """If hiredis is not installed, the error says what to install."""
        why = "redis: requires hiredis 3.2 or later: pip install 'twisted_net[redis]'"
        ours = [name for name in sys.modules if name.startswith("twisted_net.store.redis.")]
        for missing in (None, ModuleType("hiredis")):  # the second is too old
            with patch.dict(sys.modules, dict.fromkeys(ours) | {"hiredis": missing}):
                for name in ours:
                    del sys.modules[name]
                error = self.assertRaises(ValueError, store_from_url, "redis://h", Clock())
            self.assertEqual(str(error), why)

    def test_passwords_are_hidden(self) -> None:
        """Neither a location nor a URL for users shows the password, whatever is wrong with it."""
        location = self.parse(f"redis://user:{SECRET}@h")
        self.assertNotIn(SECRET, repr(location))
        self.assertEqual(location.shown, "h:6379")
        for url, shown in (
            ("redis://user:geheim@h:1/2?prefix=p", "redis://user:***@h:1/2?prefix=p"),
            ("redis://:geheim@h", "redis://:***@h"),
            ("redis://u:ge@he/i?m@h", "redis://u:***@h"),
            ("redis://h:1", "redis://h:1"),
            ("sqlite:a@b:c", "sqlite:a@b:c"),
            ("memory:", "memory:"),
        ):
            self.assertEqual(hide_password(url), shown)
