"""The PROXY protocol: every valid header, however it is split, and no other input."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols.haproxy import _v1parser, _v2parser
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.proxy_headers import SIGNATURE, encode_v1, encode_v2, tlv, v2
from twisted_net.wire.framing import RemoteProtocolError
from twisted_net.wire.proxy_protocol import (
    Endpoint,
    Family,
    ProxyHeader,
    ProxyParser,
    ProxyTls,
    _crc32c,
)

ANN = ProxyHeader(Family.IPV4, Endpoint("192.0.2.1", 56324), Endpoint("198.51.100.2", 443))
ANN_V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
ANN_BLOCK = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + b"\xdc\x04\x01\xbb"


def parse(data: bytes) -> tuple[ProxyHeader, bytes] | None:
    return ProxyParser().feed(data)


def parse_in_pieces(data: bytes, cuts: list[int]) -> tuple[ProxyHeader, bytes] | None:
    """Feed the pieces. Those after the complete header are added to the data that follows it."""
    parser = ProxyParser()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        result = parser.feed(data[start:end])
        if result is not None:
            return result[0], result[1] + data[end:]
    return None


class ParserCase(SynchronousTestCase):
    def read(self, data: bytes) -> ProxyHeader:
        """Parse a header whole, byte by byte and with trailing data, with the same result."""
        result = parse(data)
        assert result is not None, data
        header, rest = result
        self.assertEqual(rest, b"")
        self.assertEqual(parse_in_pieces(data, list(range(len(data)))), (header, b""))
        self.assertEqual(parse(data + b"PROXY \r\n\0"), (header, b"PROXY \r\n\0"))
        return header

    def refuse(self, data: bytes, why: str = "") -> None:
        """Check that the data is rejected, whole and byte by byte, and stays rejected."""
        for cuts in [[], list(range(len(data)))]:
            with self.assertRaises(RemoteProtocolError) as caught:
                parse_in_pieces(data, cuts)
            self.assertEqual(caught.exception.code, "bad-input")
            self.assertIn(why, str(caught.exception))


class Version1Tests(ParserCase):
    def test_ipv4(self) -> None:
        self.assertEqual(self.read(ANN_V1), ANN)

    def test_ipv6(self) -> None:
        self.assertEqual(
            self.read(b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::ffff:192.0.2.1 65535 0\r\n"),
            ProxyHeader(
                Family.IPV6, Endpoint("2001:db8::1", 65535), Endpoint("::ffff:192.0.2.1", 0)
            ),
        )

    def test_unknown_with_whatever_behind_it(self) -> None:
        longest = b"PROXY UNKNOWN" + b" ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" * 2
        for line in [
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN \r\n",
            longest + b" 65535 65535\r\n",
            b"PROXY UNKNOWN \r \n \xff\r\n",
        ]:
            self.assertLessEqual(len(line), 107)
            self.assertEqual(self.read(line), ProxyHeader())

    def test_nothing_is_taken_for_a_line_that_only_looks_like_one(self) -> None:
        for line in [
            b"PROXY\r\n",
            b"PROXY \r\n",
            b"PROXY  TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            b"PROXY TCP5 192.0.2.1 198.51.100.2 56324 443\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\r\n",
            b"proxy TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        ]:
            self.refuse(line)

    def test_addresses_are_of_the_family_and_in_their_usual_form(self) -> None:
        for kind, host in [
            (b"TCP4", b"192.0.2.256"),
            (b"TCP4", b"192.0.2.01"),
            (b"TCP4", b"192.0.2"),
            (b"TCP4", b"::1"),
            (b"TCP4", b"\xd9\xa1.2.3.4"),
            (b"TCP4", b""),
            (b"TCP6", b"192.0.2.1"),
            (b"TCP6", b"fe80::1%eth0"),
            (b"TCP6", b"1::2::3"),
            (b"TCP6", b"12345::"),
        ]:
            other = b"192.0.2.9" if kind == b"TCP4" else b"::9"
            for pair in [(host, other), (other, host)]:
                self.refuse(
                    b"PROXY %b %b %b 1 2\r\n" % (kind, *pair), f"no {kind.decode()} address"
                )

    def test_ports_are_plain_decimal_numbers(self) -> None:
        for port in [b"65536", b"01", b"-1", b"+1", b"", b"1_0", b"99999", b"0x1", b"\xd9\xa1"]:
            for pair in [(port, b"1"), (b"1", port)]:
                self.refuse(b"PROXY TCP4 192.0.2.1 192.0.2.2 %b %b\r\n" % pair, "no port")

    def test_a_line_ends_within_107_bytes(self) -> None:
        self.assertEqual(self.read(b"PROXY UNKNOWN ".ljust(105) + b"\r\n"), ProxyHeader())
        self.refuse(b"PROXY UNKNOWN ".ljust(106) + b"\r\n", "longer than 107 bytes")
        self.refuse(b"PROXY UNKNOWN ".ljust(107), "longer than 107 bytes")


class Version2Tests(ParserCase):
    def test_ipv4(self) -> None:
        self.assertEqual(self.read(v2(ANN_BLOCK)), ANN)

    def test_ipv6(self) -> None:
        block = IPv6Address("2001:db8::1").packed + IPv6Address("::1").packed + b"\0\1\0\2"
        self.assertEqual(
            self.read(v2(block, family=0x21)),
            ProxyHeader(Family.IPV6, Endpoint("2001:db8::1", 1), Endpoint("::1", 2)),
        )

    def test_unix(self) -> None:
        block = b"/run/a.sock".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")
        self.assertEqual(
            self.read(v2(block, family=0x31)),
            ProxyHeader(Family.UNIX, Endpoint("/run/a.sock"), Endpoint("\0abstract")),
        )
        self.assertEqual(
            self.read(v2(bytes(108) + b"x" * 108, family=0x31)),
            ProxyHeader(Family.UNIX, Endpoint(""), Endpoint("x" * 108)),
        )

    def test_datagrams(self) -> None:
        header = self.read(v2(ANN_BLOCK, family=0x12))
        self.assertEqual((header.source, header.datagram), (ANN.source, True))

    def test_a_local_connection_says_nothing_whatever_stands_in_it(self) -> None:
        for family in [0x00, 0x11, 0xFF]:
            for block in [b"", ANN_BLOCK, b"\xff" * 100]:
                self.assertEqual(
                    self.read(v2(block, command=0x20, family=family)), ProxyHeader(local=True)
                )

    def test_an_unspecified_family_or_transport_says_nothing(self) -> None:
        for family in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30]:
            for block in [b"", ANN_BLOCK, b"\xff" * 100]:
                self.assertEqual(self.read(v2(block, family=family)), ProxyHeader())

    def test_other_versions_commands_families_and_transports_are_refused(self) -> None:
        for command in [0x00, 0x11, 0x22, 0x2F, 0x31]:
            self.refuse(v2(ANN_BLOCK, command=command), "no such version and command")
        for family in [0x13, 0x1F, 0x41, 0xF0]:
            self.refuse(v2(ANN_BLOCK, family=family), "no such address family")

    def test_the_addresses_are_complete(self) -> None:
        self.refuse(v2(ANN_BLOCK[:-1]), "too short")
        self.refuse(v2(ANN_BLOCK, family=0x21), "too short")
        self.refuse(v2(ANN_BLOCK, family=0x31), "too short")

    def test_a_longer_header_is_refused_before_it_is_there(self) -> None:
        longest = v2(ANN_BLOCK + tlv(0xE0, bytes(4096 - 15)))
        self.assertEqual(len(self.read(longest).tlvs), 1)
        self.refuse(v2(bytes(4097))[:16], "longer than 4096 bytes")
        with self.assertRaises(RemoteProtocolError):
            ProxyParser(max_length=11).feed(v2(ANN_BLOCK)[:16])

    def test_an_error_comes_as_soon_as_it_can_be_seen(self) -> None:
        for start in [b"G", b"PRX", b"\r\n\r\nX", b"\0", SIGNATURE + b"\x11"]:
            with self.assertRaises(RemoteProtocolError):
                parse(start)


class FurtherPieceTests(ParserCase):
    def test_are_given_as_they_came(self) -> None:
        pieces = tlv(0xE0, b"own") + tlv(0x05, b"id") + tlv(0xE0, b"")
        self.assertEqual(
            self.read(v2(ANN_BLOCK + pieces)).tlvs, ((0xE0, b"own"), (0x05, b"id"), (0xE0, b""))
        )

    def test_padding_is_passed_over(self) -> None:
        self.assertEqual(self.read(v2(ANN_BLOCK + tlv(4, bytes(9)) + tlv(4, b""))), ANN)

    def test_are_not_cut_short(self) -> None:
        for pieces in [b"\xe0", b"\xe0\0", b"\xe0\0\1", tlv(0xE0, b"own") + b"\xe0\xff\xff"]:
            self.refuse(v2(ANN_BLOCK + pieces), "ends within a piece")

    def test_the_name_that_the_client_asked_for(self) -> None:
        self.assertIsNone(ANN.authority)
        header = self.read(v2(ANN_BLOCK + tlv(2, "müller.example".encode())))
        self.assertEqual(header.authority, "müller.example")
        self.refuse(v2(ANN_BLOCK + tlv(2, b"\xff")), "not UTF-8")

    def test_the_clients_tls(self) -> None:
        texts = tlv(0x21, b"TLSv1.3") + tlv(0x22, b"ann") + tlv(0x23, b"AES") + tlv(0x24, b"RSA")
        self.assertIsNone(ANN.tls)
        for flags, verify, expected in [
            (0x07, 0, ProxyTls(True, True, "TLSv1.3", "ann", "AES")),
            (0x05, 1, ProxyTls(True, False, "TLSv1.3", "ann", "AES")),
            (0x01, 0, ProxyTls(False, False, "TLSv1.3", "ann", "AES")),
            (0x00, 0, None),
        ]:
            piece = tlv(0x20, bytes((flags, 0, 0, 0, verify)) + texts)
            self.assertEqual(self.read(v2(ANN_BLOCK + piece)).tls, expected)
        self.assertEqual(
            self.read(v2(ANN_BLOCK + tlv(0x20, b"\1\0\0\0\0"))).tls, ProxyTls(False, False)
        )

    def test_malformed_tls_is_refused(self) -> None:
        for value in [b"\1\0\0\0", b"\1\0\0\0\0\x21\0", b"\1\0\0\0\0\x21\0\5abc"]:
            self.refuse(v2(ANN_BLOCK + tlv(0x20, value)))
        self.refuse(v2(ANN_BLOCK + tlv(0x20, b"\1\0\0\0\0" + tlv(0x22, b"\xff"))), "not UTF-8")

    def test_the_checksum_is_that_of_the_rfc(self) -> None:
        """The checksum matches the CRC32c examples in RFC 3720, B.4."""
        self.assertEqual(_crc32c(bytes(32)).to_bytes(4, "little"), bytes.fromhex("aa36918a"))
        self.assertEqual(_crc32c(b"\xff" * 32).to_bytes(4, "little"), bytes.fromhex("43aba862"))
        self.assertEqual(_crc32c(b"123456789"), 0xE3069283)

    def test_a_checksum_is_verified(self) -> None:
        right = encode_v2(ANN, checksum=True)
        self.assertEqual(self.read(right), ANN)
        for place in range(16, len(right)):
            if not 28 <= place < 31:  # the type and length of the checksum field
                wrong = bytearray(right)
                wrong[place] ^= 1
                self.refuse(bytes(wrong), "checksum does not match")
        self.refuse(v2(ANN_BLOCK + tlv(3, b"abc")), "checksum does not match")

    def test_a_checksum_stands_anywhere_but_once(self) -> None:
        first = bytearray(v2(ANN_BLOCK + tlv(3, bytes(4)) + tlv(0xE0, b"own")))
        first[31:35] = _crc32c(bytes(first)).to_bytes(4, "big")
        self.assertEqual(self.read(bytes(first)).tlvs, ((0xE0, b"own"),))
        again = bytearray(v2(ANN_BLOCK + tlv(3, bytes(4)) * 2))
        again[31:35] = _crc32c(bytes(again)).to_bytes(4, "big")
        self.refuse(bytes(again), "two checksums")


class HaproxyTests(ParserCase):
    """Headers recorded from HAProxy 2.6.12.

    Its setting was ``proxy-v2-options ssl,cert-cn,...,authority,crc32c``.
    """

    def test_a_client_with_a_certificate(self) -> None:
        header = self.read(
            bytes.fromhex(
                "0d0a0d0a000d0a515549540a211100817f0000017f000001a860426b0300049f1132fe"
                "020015786e2d2d6d6c6c65722d6b76612e6578616d706c6505000b3132372e302e302e312d78"
                "2000450700000000210007544c5376312e33220003616e6e250007525341323034382400"
                "0a5253412d534841323536230016544c535f4145535f3235365f47434d5f534841333834"
            )
        )
        self.assertEqual(header.source, Endpoint("127.0.0.1", 43104))
        self.assertEqual(header.destination, Endpoint("127.0.0.1", 17003))
        self.assertEqual(header.authority, "xn--mller-kva.example")
        self.assertEqual(
            header.tls, ProxyTls(True, True, "TLSv1.3", "ann", "TLS_AES_256_GCM_SHA384")
        )

    def test_a_health_check_carries_a_checksum_all_the_same(self) -> None:
        data = "0d0a0d0a000d0a515549540a2000000f030004889da1df2000050000000000"
        self.assertEqual(self.read(bytes.fromhex(data)), ProxyHeader(local=True))


class LifeTests(SynchronousTestCase):
    def test_nothing_yet(self) -> None:
        parser = ProxyParser()
        self.assertIsNone(parser.feed(b""))
        self.assertIsNone(parser.feed(b"PROX"))
        self.assertIsNone(parser.feed(b""))

    def test_an_error_stays(self) -> None:
        parser = ProxyParser()
        for data in [b"GET / HTTP/1.1\r\n", ANN_V1]:
            with self.assertRaises(RemoteProtocolError) as caught:
                parser.feed(data)
            self.assertIn("does not begin with a PROXY header", str(caught.exception))

    def test_a_header_comes_once(self) -> None:
        parser = ProxyParser()
        self.assertEqual(parser.feed(ANN_V1), (ANN, b""))
        self.assertRaises(RuntimeError, parser.feed, ANN_V1)

    def test_what_it_remembers_is_bounded(self) -> None:
        parser = ProxyParser()
        with self.assertRaises(RemoteProtocolError):
            parser.feed(b"PROXY " + bytes(1 << 20))
        self.assertLess(len(parser._buffer), 1)


class HeadersTests(SynchronousTestCase):
    """The encoders that these tests use."""

    def test_version_1(self) -> None:
        self.assertEqual(encode_v1(ANN), ANN_V1)
        mapped = ProxyHeader(Family.IPV6, Endpoint("::ffff:c000:201", 1), Endpoint("::", 2))
        self.assertEqual(encode_v1(mapped), b"PROXY TCP6 ::ffff:192.0.2.1 :: 1 2\r\n")

    def test_version_2(self) -> None:
        self.assertEqual(encode_v2(ANN), v2(ANN_BLOCK))
        self.assertEqual(encode_v2(ProxyHeader()), v2(family=0))
        self.assertEqual(encode_v2(ProxyHeader(local=True)), v2(command=0x20, family=0))


ports = st.integers(0, 65535)
texts = st.text(st.characters(codec="utf-8"), max_size=20).map(str.encode)
pieces = st.lists(
    st.tuples(st.sampled_from([0x01, 0x05, 0x30, 0xE0, 0xFF]), st.binary(max_size=40))
    | st.tuples(st.just(0x02), texts)
    | st.tuples(
        st.just(0x20),
        st.builds(
            lambda flags, text: bytes((flags, 0, 0, 0, 0)) + tlv(0x22, text),
            st.integers(0, 7),
            texts,
        ),
    ),
    max_size=4,
).map(tuple)
ipv4 = st.builds(Endpoint, st.ip_addresses(v=4).map(str), ports)
ipv6 = st.builds(
    Endpoint,
    st.ip_addresses(v=6).filter(lambda address: not address.ipv4_mapped).map(str),
    ports,
)
unix = (
    st.binary(max_size=108)
    .filter(lambda path: b"\0" not in path)
    .map(lambda path: Endpoint(path.decode("utf-8", "surrogateescape")))
)
tcp_headers = st.builds(ProxyHeader, st.just(Family.IPV4), ipv4, ipv4) | st.builds(
    ProxyHeader, st.just(Family.IPV6), ipv6, ipv6
)
v2_headers = (
    st.sampled_from([ProxyHeader(), ProxyHeader(local=True)])
    | st.builds(ProxyHeader, st.just(Family.IPV4), ipv4, ipv4, datagram=st.booleans(), tlvs=pieces)
    | st.builds(ProxyHeader, st.just(Family.IPV6), ipv6, ipv6, datagram=st.booleans(), tlvs=pieces)
    | st.builds(ProxyHeader, st.just(Family.UNIX), unix, unix, datagram=st.booleans(), tlvs=pieces)
)
cuts = st.lists(st.integers(0, 1000), max_size=8)
garbage = (
    st.binary(max_size=200)
    | st.binary(max_size=120).map(lambda rest: b"PROXY " + rest)
    | st.from_regex(rb"PROXY (TCP4|TCP6|UNKNOWN)[0-9a-f.: ]{0,60}\r\n")
    | st.builds(
        lambda command, family, block: v2(block, command, family),
        st.sampled_from([0x20, 0x21]),
        st.sampled_from([0x00, 0x11, 0x12, 0x21, 0x31]),
        st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: ANN_BLOCK + rest),
    )
)


class PropertyTests(SynchronousTestCase):
    @given(tcp_headers, st.binary(), cuts)
    def test_version_1_comes_back_in_any_split(
        self, header: ProxyHeader, rest: bytes, places: list[int]
    ) -> None:
        data = encode_v1(header)
        self.assertEqual(parse_in_pieces(data + rest, places), (header, rest))

    @given(v2_headers, st.booleans(), st.binary(), cuts)
    def test_version_2_comes_back_in_any_split(
        self, header: ProxyHeader, checksum: bool, rest: bytes, places: list[int]
    ) -> None:
        data = encode_v2(header, checksum=checksum)
        self.assertEqual(parse_in_pieces(data + rest, places), (header, rest))

    @given(tcp_headers)
    def test_twisteds_own_parser_reads_the_same(self, header: ProxyHeader) -> None:
        for data, parser in [
            (encode_v1(header), _v1parser.V1Parser),
            (encode_v2(header), _v2parser.V2Parser),
        ]:
            info = parser.parse(data.removesuffix(b"\r\n") if data[:1] == b"P" else data)
            for ours, theirs in [
                (header.source, info.source),
                (header.destination, info.destination),
            ]:
                assert ours is not None
                kind = IPv4Address if header.family is Family.IPV4 else IPv6Address
                host = theirs.host.decode() if isinstance(theirs.host, bytes) else theirs.host
                self.assertEqual((kind(host), theirs.port), (kind(ours.host), ours.port))

    @settings(max_examples=300)
    @given(garbage, cuts)
    def test_garbage_is_read_or_refused_alike_in_any_split(
        self, data: bytes, places: list[int]
    ) -> None:
        """Any input gives a header or the protocol's own error, however it is split."""

        def outcome(places: list[int]) -> object:
            try:
                return parse_in_pieces(data, places)
            except RemoteProtocolError as error:
                self.assertEqual(error.code, "bad-input")
                return "refused"

        self.assertEqual(outcome(places), outcome([]))

    @given(v2_headers, st.binary(min_size=1))
    def test_what_was_read_can_be_asked_without_an_error(
        self, header: ProxyHeader, noise: bytes
    ) -> None:
        data = bytearray(encode_v2(header))
        for n, byte in enumerate(noise):
            data[16 + (n * 7 + byte) % max(1, len(data) - 16) if len(data) > 16 else 15] ^= byte
        try:
            result = ProxyParser(max_length=1 << 16).feed(bytes(data))
        except RemoteProtocolError:
            return
        if result is not None:
            _ = result[0].authority, result[0].tls
