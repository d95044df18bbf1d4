"""What the log says of certificates and keys that are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cryptography import x509
from twisted.logger import Logger

from twisted_net.tls.certificate_files import Place
from twisted_net.tls.key_pairs import KeyPair
from twisted_net.tls.validity import Dated, certificate_name, dated_chain

_log = Logger()


def announce_certificates(old: Mapping[Place, KeyPair], new: Mapping[Place, KeyPair]) -> None:
    """Log each certificate that is new, and each that is gone."""
    for place, pair in new.items():
        if old.get(place) != pair:
            _log.info(
                "Certificate {name} for {names}: expires {expires:%Y-%m-%d %H:%M} UTC, "
                "SHA-256 {fingerprint}",
                name=place.name,
                names=", ".join(pair.names) or "no host name",
                expires=pair.expires,
                fingerprint=pair.fingerprint,
            )
    for place in old:
        if place not in new:
            _log.info("Certificate {name} is gone", name=place.name)


def announce_ticket_key(key: bytes) -> None:
    """Log the name of a key of session tickets. It is no secret: each ticket has it in plain."""
    _log.info("Session tickets have the key {id}", id=key[:8].hex())


def dated_certificates(
    pairs: Mapping[Place, KeyPair], authorities: Iterable[x509.Certificate]
) -> list[Dated]:
    """Return all certificates of a server, and those of its clients' authorities, with names."""
    found = [
        each
        for place, pair in pairs.items()
        for each in dated_chain(f"certificate {place.name}", pair)
    ]
    return found + [Dated(f"client CA {certificate_name(each)}", each) for each in authorities]
