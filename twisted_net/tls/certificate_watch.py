"""Looks after certificates while a server runs: renewal, keys of session tickets, expiry."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twisted_net.tls.certificates import Certificates

LOOK_EVERY = 5.0
"""Seconds between two checks of the files. A changed file is read at the second check that finds
it unchanged, so a renewal takes effect after at most twice as long. ``certbot`` switches its links
one after another, so for a moment the key does not belong to the certificate."""

ROTATE_TICKETS_EVERY = 12 * 60 * 60
"""Seconds until session tickets get a new key, as in Caddy. The old key is discarded: stealing the
new key does not reveal older sessions, and a client with an older ticket makes a full handshake."""

WARN_LOOK_EVERY = 60.0
"""Seconds until the warnings of certificates that expire are due again, at most."""

_log = Logger()


class CertificateWatch(Service):
    """Reloads renewed certificates while it runs, rotates the keys of session tickets, and warns
    once a day of certificates that expire within 14 days.

    :param certificates: the certificates to check.
    :param clock: the clock, such as a reactor.
    :param look_every: seconds; see :data:`LOOK_EVERY`.
    :param rotate_every: seconds; see :data:`ROTATE_TICKETS_EVERY`.
    """

    def __init__(
        self,
        certificates: Sequence[Certificates],
        clock: IReactorTime,
        *,
        look_every: float = LOOK_EVERY,
        rotate_every: float = ROTATE_TICKETS_EVERY,
    ) -> None:
        self.certificates = certificates
        self._looking = LoopingCall(self._each, "look")
        self._rotating = LoopingCall(self._each, "rotate_tickets")
        self._warning = LoopingCall(self._each, "warn_of_expiry")
        self._every = (
            (self._looking, look_every),
            (self._rotating, rotate_every),
            (self._warning, WARN_LOOK_EVERY),
        )
        for loop, _ in self._every:
            loop.clock = clock

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        for loop, seconds in self._every:
            loop.start(seconds, now=False)

    def stopService(self) -> Deferred[None] | None:
        for loop, _ in self._every:
            if loop.running:
                loop.stop()
        super().stopService()  # type: ignore[no-untyped-call]
        return None

    def _each(self, what: str) -> None:
        for each in self.certificates:
            try:
                getattr(each, what)()
            except Exception:  # an error must not end the loop
                _log.failure("Certificates could not be looked after")
