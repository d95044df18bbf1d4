"""What HTTP proxies say about the client of a request."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.policy.ranges import Ranges, nearest_outside
from twisted_net.wire.forwarded import Forwarded, parse_forwarded
from twisted_net.wire.framing import RemoteProtocolError

ANN, BOB = "192.0.2.43", "2001:db8::1"


def head(*fields: str) -> bytes:
    """Return a request with these fields, among others."""
    lines = ("GET / HTTP/1.1", "Host: x", *fields, "Accept: */*", "", "")
    return "\r\n".join(lines).encode("latin-1")


class ForTests(SynchronousTestCase):
    """``X-Forwarded-For``."""

    def check(self, *fields: str, nodes: tuple[str | None, ...]) -> None:
        self.assertEqual(parse_forwarded(head(*fields)).nodes, nodes)

    def test_addresses(self) -> None:
        """A list of addresses, with or without ports and brackets."""
        for text, nodes in (
            (ANN, (ANN,)),
            (f"{BOB},{ANN}", (BOB, ANN)),
            (f"  [{BOB}]:443 ,\t{ANN}:80 ", (BOB, ANN)),
            (f"[{BOB}]", (BOB,)),
            ("2001:DB8:0:0::1", (BOB,)),
            (f"::ffff:{ANN}", (ANN,)),
            ("::", ("::",)),
            (f",{ANN},, ", (ANN,)),
            (f"unknown, {ANN}, Unknown:80, _hidden, _a.b-c:_d", (None, ANN, None, None, None)),
        ):
            self.check(f"X-Forwarded-For: {text}", nodes=nodes)

    def test_several_headers_are_one_list(self) -> None:
        self.check(
            *(f"X-Forwarded-For: {BOB}", "X-Other: 1.1.1.1", f"x-FORWARDED-for:{ANN}"),
            nodes=(BOB, ANN),
        )

    def test_before_forwarded(self) -> None:
        """``Forwarded`` does not count beside it, whatever it is."""
        for text in (f'for="[{BOB}]";proto=https', "nonsense, "):
            found = parse_forwarded(head(f"Forwarded: {text}", f"X-Forwarded-For: {ANN}"))
            self.assertEqual(found, Forwarded((ANN,)))

    def test_nothing(self) -> None:
        for fields in ((), ("X-Forwarded-Host: a", "X_Forwarded_For: 1.1.1.1", "Via: 1.1 x")):
            found = parse_forwarded(head(*fields))
            self.assertEqual(found, Forwarded())
            self.assertFalse(found)

    def test_other_headers_do_not_matter(self) -> None:
        """Neither does the request line, nor an empty line before it."""
        line = f"X-Forwarded-For: {ANN}"
        data = head("X-Folded: a", f" {line}", "X-Latin: \xe9", line, "No colon")
        self.assertEqual(parse_forwarded(data).nodes, (ANN,))
        self.assertEqual(parse_forwarded(b"\r\n" + data).nodes, (ANN,))
        self.assertEqual(parse_forwarded(f"{line}\r\n\r\n".encode()).nodes, ())

    def test_malformed(self) -> None:
        """One malformed element spoils the list."""
        for text in (
            *("", " , ", "a", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4:", "1.2.3.4:123456"),
            *("1.2.3.4 5.6.7.8", "[1.2.3.4]", "[::1", "::1]", ":::", "fe80::1%eth0", "_", "_\xe9"),
            *('"1.2.3.4"', "for=1.2.3.4", "unknown x", "1.2.3.4;", "\u00b2.1.1.1", "[::1]x"),
        ):
            for field in (f"X-Forwarded-For: {text}", f"X-Forwarded-For: {ANN}, {text},{BOB}"):
                if "," in field and not text.strip(" ,"):
                    continue  # empty elements do not count
                with self.assertRaises(RemoteProtocolError, msg=field) as caught:
                    parse_forwarded(head(field))
                self.assertEqual(caught.exception.code, "bad-input")
                self.assertIn("X-Forwarded-For is malformed: ", str(caught.exception))

    def test_what_might_be_read_differently(self) -> None:
        """A space before the colon and a folded line: programs differ in what they make of them."""
        for fields in ((f"X-Forwarded-For : {ANN}",), (f"X-Forwarded-For: {ANN}", f" , {BOB}")):
            self.assertRaises(RemoteProtocolError, parse_forwarded, head(*fields))


class ForwardedTests(SynchronousTestCase):
    """``Forwarded`` (RFC 7239)."""

    def test_elements(self) -> None:
        """The examples of the RFC, and some more."""
        for text, nodes in (
            ('for="_gazonk"', (None,)),
            ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17",)),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", ("192.0.2.60",)),
            ("for=192.0.2.43, for=198.51.100.17", (ANN, "198.51.100.17")),
            ("for=unknown", (None,)),
            ("proto=https", (None,)),
            ('by="a,b;for=1.1.1.1";host="x\\"y" ; for="192\\.0.2.43:80" ,, ;', (ANN,)),
        ):
            self.assertEqual(parse_forwarded(head(f"Forwarded: {text}")).nodes, nodes, text)

    def test_malformed(self) -> None:
        for text in (
            *("", ",;", "for", "for=", "=x", 'for="1.1.1.1', "for=1.1.1.1:80", "for=[::1]"),
            *("for=::1", 'for="::1"', "for=1.1.1.1 for=2.2.2.2", "for=1.1.1.1;for=2.2.2.2"),
            *("for =1.1.1.1", "for= 1.1.1.1", 'for="1.1.1.1"x', "for=x", 'for="\xe9"', "proto=ftp"),
        ):
            with self.assertRaises(RemoteProtocolError, msg=text) as caught:
                parse_forwarded(head(f"Forwarded: {text}"))
            self.assertIn("is malformed: ", str(caught.exception))


class SchemeTests(SynchronousTestCase):
    """Whether the client speaks TLS."""

    def test_schemes(self) -> None:
        """All proxies on the way must have been asked over TLS."""
        proto, address = "X-Forwarded-Proto", f"X-Forwarded-For: {ANN}"
        for fields, secure in (
            ((address,), None),
            ((f"{proto}: https", address), True),
            ((f"{proto}: HTTPS",), True),
            ((f"{proto}: wss",), True),
            ((f"{proto}: http", address), False),
            ((f"{proto}: ws",), False),
            ((f"{proto}: https, http",), False),
            ((f"{proto}: https", f"{proto}: https"), True),
            ((f"{proto}: ",), None),
            ((f"Forwarded: for={ANN};proto=https",), True),
            ((f"Forwarded: for={ANN};proto=https, for={ANN};proto=http",), False),
            ((f"Forwarded: for={ANN};proto=https", f"{proto}: http"), False),
            ((f"Forwarded: for={ANN};proto=https", address), None),
        ):
            self.assertIs(parse_forwarded(head(*fields)).is_secure, secure, fields)

    def test_malformed(self) -> None:
        for text in ("on", "httpss", "https;", "443"):
            data = head(f"X-Forwarded-Proto: {text}")
            self.assertRaises(RemoteProtocolError, parse_forwarded, data)


addresses = st.ip_addresses().map(
    lambda each: getattr(each, "ipv4_mapped", None) or each,
)
nodes = st.one_of(st.none(), addresses)
ports = st.sampled_from(["", ":1", ":65535", ":_p"])


def for_element(node: Any, port: str) -> str:
    """Return a node as ``X-Forwarded-For`` has it."""
    if node is None:
        return "unknown" + port
    return str(node) + port if isinstance(node, IPv4Address) else f"[{node}]{port}"


class PropertyTests(SynchronousTestCase):
    @given(st.lists(st.tuples(nodes, ports), min_size=1), st.integers(0, 9), st.booleans())
    def test_what_is_written_is_read(
        self, given_nodes: list[tuple[Any, str]], split: int, is_standard: bool
    ) -> None:
        """Any list is read as it was written, in one header or in two."""
        texts = [for_element(*each) for each in given_nodes]
        if is_standard:
            texts = [f'for="{each}"' for each in texts]
        name = "Forwarded" if is_standard else "X-Forwarded-For"
        parts = [texts[:split], texts[split:]]
        fields = [f"{name}: {', '.join(each)}" for each in parts if each]
        wanted = tuple(None if node is None else str(node) for node, _ in given_nodes)
        self.assertEqual(parse_forwarded(head(*fields)).nodes, wanted)

    @given(st.binary(max_size=60), st.sampled_from(["X-Forwarded-For", "Forwarded"]))
    def test_any_bytes(self, data: bytes, name: str) -> None:
        """Whatever comes, there are addresses, or one kind of error."""
        try:
            found = parse_forwarded(head(f"{name}: {data.decode('latin-1')}"))
        except RemoteProtocolError:
            return
        for each in found.nodes:
            self.assertTrue(each is None or str(ip_address(each)) == each)

    @given(
        st.text('for=by;proto,":_[]1.2 \\\t', max_size=40),
        st.sampled_from(["X-Forwarded-For", "Forwarded"]),
    )
    def test_nearly_right(self, text: str, name: str) -> None:
        self.test_any_bytes.hypothesis.inner_test(self, text.encode(), name)  # type: ignore[attr-defined]

    @given(st.lists(st.one_of(st.none(), st.sampled_from(["10.0.0.1", "10.9.9.9", ANN, BOB]))))
    def test_the_client(self, given_nodes: list[str | None]) -> None:
        """It is the nearest that is no proxy, however many others are named before it."""
        trusted = Ranges(["10.0.0.0/8"])
        found = nearest_outside(given_nodes, trusted)
        others = [each for each in given_nodes if each is None or not each.startswith("10.")]
        if others:
            self.assertEqual(found, others[-1])
            self.assertEqual(nearest_outside([ANN, None, *given_nodes], trusted), found)
        else:
            self.assertEqual(found, given_nodes[0] if given_nodes else None)


class UnmappedTests(SynchronousTestCase):
    def test_mapped(self) -> None:
        """An IPv4 address is the same in either form."""
        mapped = IPv6Address(f"::ffff:{ANN}")
        self.assertEqual(parse_forwarded(head(f'Forwarded: for="[{mapped}]"')).nodes, (ANN,))
