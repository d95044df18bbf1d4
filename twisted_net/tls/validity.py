"""When certificates are valid: which must not be used, and which must soon be renewed."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.logger import Logger

from twisted_net.tls.key_pairs import CertificateError, KeyPair
from twisted_net.wire.text import noun_for

WARN_BEFORE = datetime.timedelta(days=14)
"""How long before a certificate expires the warnings begin: what is renewed by itself, such as
with certbot, has been renewed twice as long before that."""

REMIND_EVERY = datetime.timedelta(days=1)

_log = Logger()


class Dated(NamedTuple):
    """A certificate, and its name in the log."""

    label: str
    certificate: x509.Certificate


def utc_now() -> datetime.datetime:
    """Return the time of the system's clock, by which certificates are valid."""
    return datetime.datetime.now(datetime.UTC)


def check_chain(what: str, path: str, pair: KeyPair, now: datetime.datetime) -> None:
    """Check that clients can accept a certificate and its chain now.

    :param what: the setting, for the error.
    :raises CertificateError: one of them has expired, or is not valid yet.
    """
    for each in dated_chain("", pair):
        which = (
            "" if each.certificate is pair.chain[0] else f"{certificate_name(each.certificate)} "
        )
        _raise_fault(what, path, which, each.certificate, now)


def check_authorities(
    what: str, path: str, authorities: Sequence[x509.Certificate], now: datetime.datetime
) -> None:
    """Check that at least one of several CA certificates is valid now.

    A file may have old and new ones beside each other, so that they can be replaced.

    :raises CertificateError: none is valid.
    """
    if authorities and all(_fault(each, now) for each in authorities):
        _raise_fault(what, path, f"{certificate_name(authorities[0])} ", authorities[0], now)


def dated_chain(label: str, pair: KeyPair) -> list[Dated]:
    """Return a certificate and the intermediate certificates of its chain.

    A root at the end of the chain is left out: clients ignore it, and have their own.
    """
    first, *rest = pair.chain
    return [
        Dated(label, first),
        *(
            Dated(f"{certificate_name(each)} in the chain of {label}", each)
            for each in rest
            if each.issuer != each.subject
        ),
    ]


def certificate_name(certificate: x509.Certificate) -> str:
    """Return the common name of a certificate's subject, or else the whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(str(names[0].value) if names else certificate.subject.rfc4514_string())


class ExpiryWarnings:
    """Warns once a day of certificates that expire soon, or have expired.

    There is one more warning when a certificate expires, whatever the time of day.
    """

    def __init__(self) -> None:
        self._told: dict[Dated, tuple[bool, datetime.datetime]] = {}

    def tell(self, certificates: Iterable[Dated], now: datetime.datetime) -> None:
        """Warn of these certificates, unless that was done during the last day.

        :param now: the time, with a time zone.
        """
        before, self._told = self._told, {}
        for each in certificates:
            expires = each.certificate.not_valid_after_utc
            if expires - now > WARN_BEFORE:
                continue
            has_expired = now > expires
            told = before.get(each)
            # abs(): somebody may have set the clock back.
            if told and told[0] == has_expired and abs(now - told[1]) < REMIND_EVERY:
                self._told[each] = told
                continue
            self._told[each] = (has_expired, now)
            _warn(each.label, expires, now)


def _warn(label: str, expires: datetime.datetime, now: datetime.datetime) -> None:
    if now > expires:
        _log.warn(
            "{label} expired on {expires:%Y-%m-%d %H:%M} UTC: it is refused; renew it",
            label=_capital(label),
            expires=expires,
        )
    else:
        days = (expires - now).days
        _log.warn(
            f"{{label}} expires in {{days}} {noun_for(days, 'day')}, "
            "on {expires:%Y-%m-%d %H:%M} UTC: renew it",
            label=_capital(label),
            days=days,
            expires=expires,
        )


def _capital(label: str) -> str:
    return label[:1].upper() + label[1:]


def _raise_fault(
    what: str, path: str, which: str, certificate: x509.Certificate, now: datetime.datetime
) -> None:
    text = _fault(certificate, now)
    if text is not None:
        # What is not valid yet becomes valid without a change of the file.
        passing = now < certificate.not_valid_before_utc
        raise CertificateError(what, path, f"{which}{text}", passing=passing)


def _fault(certificate: x509.Certificate, now: datetime.datetime) -> str | None:
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now > ends:
        return (
            f"expired on {ends:%Y-%m-%d %H:%M} UTC; renew it, or allow expired certificates: "
            "--allow-expired, or allowExpired=yes in an endpoint"
        )
    if now < begins:
        return f"is not valid before {begins:%Y-%m-%d %H:%M} UTC; is the clock right?"
    return None
