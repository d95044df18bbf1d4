"""Makes the service of a supervisor, and that of a worker."""

from __future__ import annotations

import os
import re
import resource
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.logger import Logger

from twisted_net.eager.session_tickets import (
    TICKET_KEY_BYTES,
    TicketKeysUnsupported,
    check_supported,
)
from twisted_net.endpoints.descriptors import most_connections
from twisted_net.endpoints.listening import Listener, without_place
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.services.admin_flags import admin_service, view_of
from twisted_net.services.options import ServiceOptions
from twisted_net.services.reexec import end_trial
from twisted_net.services.starting import NamedService, StartError
from twisted_net.services.upgrading import Launch
from twisted_net.services.workers.settings import PYTHONPATH, WorkerSettings
from twisted_net.services.workers.shared_admission import SharedAdmission, share_of
from twisted_net.services.workers.sockets import AcceptingSockets, HandedSockets
from twisted_net.services.workers.spawning import DESCRIPTORS_PER_WORKER, Spawner, reactor_flags
from twisted_net.services.workers.supervisor import Supervisor, SupervisorParts
from twisted_net.services.workers.worker import OperatorAnswers, WorkerEnd

_COUNTED = re.compile(r":(maxConnections|perAddress|acceptRate)=")

_FLAG_FOR = {
    "maxConnections": "max-connections",
    "perAddress": "max-per-address",
    "acceptRate": "accept-rate",
}

_OWN_DESCRIPTORS = 24
"""File descriptors of a supervisor with its log, a few listeners, and the connections that it has
just accepted. It starts with 12, and needs 6 more while it starts a worker."""

_log = Logger()


def make_worker(
    options: ServiceOptions,
    reactor: Any,
    make: Callable[[], NamedService],
    settings: WorkerSettings,
) -> NamedService:
    """Return the service of a worker.

    :param make: makes it, with what the supervisor has instead of what a process has of its own.
    :raises StartError: something that the command line names cannot be used.
    """
    sockets = HandedSockets()
    end = WorkerEnd(reactor, sockets)
    count = settings.workers

    def make_admission(rules: AdmissionRules) -> Admission:
        share = share_of(rules, count)
        if options["max-connections"] is None:  # it is what this process alone can hold
            share = replace(share, max_connections=rules.max_connections)
        return SharedAdmission(share, count, end.left)

    options.sockets = sockets
    options.make_admission = make_admission
    options.shared_certificate = settings.certificate
    options.parts = count
    service = make()
    if settings.succeeds:
        check_same_listeners(options.command, service.listeners, settings.listeners)
    if settings.ticket_key:
        for listener in service.listeners:
            if listener.certificates is not None:
                listener.certificates.use_ticket_key(bytes.fromhex(settings.ticket_key))
    admission = service.factory.admission
    assert isinstance(admission, SharedAdmission)
    end.serve(service, admission, _answers(options, reactor, service, end))
    return service


def _answers(
    options: ServiceOptions, reactor: Any, service: NamedService, end: WorkerEnd
) -> OperatorAnswers | None:
    if options["admin"] is None:
        return None
    from twisted_net.services.workers.admin.in_worker import WorkerAnswers

    return WorkerAnswers(reactor, view_of(service, options, options.appends), end.tell)


def make_supervisor(options: ServiceOptions, reactor: Any, count: int) -> Supervisor:
    """Return the service of a supervisor.

    :param count: how many workers it has.
    :raises StartError: something that the command line names cannot be used.
    """
    _check_listeners(options)
    _check_descriptors(options, count)
    launch = options.launch or Launch()
    known: dict[str, Any] = {} if launch.saved is None else launch.saved.values
    sockets = AcceptingSockets()
    options.sockets = sockets
    options.shared_certificate = known.get("certificate")
    listeners = options.listeners(reactor)
    labels = tuple(each.label for each in listeners)
    if launch.saved is not None:
        check_same_listeners(options.command, listeners, known["listeners"])
    keys = _TicketKeys(listeners, options["ticket-key"] is not None, known.get("ticket_key", ""))
    certificate = _self_signed(listeners) if options["self-signed"] else None

    def settings(number: int) -> WorkerSettings:
        return WorkerSettings(
            number,
            count,
            options.command,
            options.words,
            (*reactor_flags(reactor), *options.twistd),
            keys.current,
            certificate,
            os.environ.get(PYTHONPATH),
            labels,
        )

    def identity() -> dict[str, Any]:
        return {"ticket_key": keys.current, "certificate": certificate, "listeners": labels}

    supervisor = Supervisor(
        reactor,
        SupervisorParts(
            command=options.command,
            sockets=sockets,
            listeners=listeners,
            settings=settings,
            spawn=Spawner(reactor, options.directory).spawn,
            count=count,
            admission=Admission(_rules_for_all(options, count)),
            trusted=[*options["proxy-protocol"], *options.get("trusted-proxy", ())],
            drain=options["drain"],
            options=options,
            overlaps=options.may_overlap,
            renew_ticket_key=keys.renew if keys.current else None,
            identity=identity,
            launch=launch,
        ),
    )
    if options["admin"] is not None:
        _add_admin(supervisor, options, reactor)
    end_trial(launch.saved)
    return supervisor


def _add_admin(supervisor: Supervisor, options: ServiceOptions, reactor: Any) -> None:
    from twisted_net.services.workers.admin.in_supervisor import PoolAnswers
    from twisted_net.web.admin.views import ServiceView

    view = ServiceView(options.command, supervisor)
    view.upgrade = supervisor.upgrade
    answers = PoolAnswers(reactor, supervisor, view, decides_bans=options.command != "netchat")
    supervisor.pool.observer = answers
    supervisor.admin = admin_service(reactor, options, view, answers)


def _rules_for_all(options: ServiceOptions, count: int) -> AdmissionRules:
    rules: AdmissionRules = options.settings()["admission"].rules
    if options["max-connections"] is None:  # each worker has its own descriptors
        return replace(rules, max_connections=count * most_connections(options.descriptors))
    return rules


def _check_descriptors(options: ServiceOptions, count: int) -> None:
    """Refuse more workers than the limit on file descriptors allows.

    Else the start would fail in the middle, when some of them run.
    """
    needed = _OWN_DESCRIPTORS + DESCRIPTORS_PER_WORKER * count
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise StartError(
            f"{options.command}: {options.spell('workers')}: this takes {needed} file descriptors, "
            f"and the limit is {limit}: raise it (ulimit -n, LimitNOFILE= in systemd), or start "
            "fewer workers"
        )


def _check_listeners(options: ServiceOptions) -> None:
    """Refuse limits that each worker would count by itself."""
    for text in options["listen"]:
        found = _COUNTED.search(text)
        if found is not None and text.partition(":")[0] in ("net", "nettls"):
            raise StartError(
                f"{options.command}: {options.spell('listen', text)}: {found[1]}= would be counted "
                f"by each worker; use --{_FLAG_FOR[found[1]]} with --workers"
            )


def check_same_listeners(
    command: str, listeners: Sequence[Listener], before: Sequence[str]
) -> None:
    """Refuse an upgrade that listens elsewhere: the processes know listeners by numbers.

    :param listeners: those of the new code.
    :param before: the labels of those of the old code.
    :raises StartError: they are others, or in another order.
    """
    labels = [each.label for each in listeners]
    here = [without_place(label) for label in labels]
    there = [without_place(label) for label in before]
    if here != there:
        others = (each for each in (*here, *there) if each not in here or each not in there)
        as_written = {without_place(each): each for each in (*before, *labels)}
        raise StartError(
            f"{command}: {as_written[next(others, here[0])]}: an upgrade with --workers cannot "
            "change where it listens, nor the order; restart the service"
        )


class _TicketKeys:
    """The key of session tickets that all workers share.

    :param before: the key that the workers have already.
    :ivar current: the key in hexadecimal digits; empty if there is none.
    """

    def __init__(self, listeners: list[Listener], in_file: bool, before: str) -> None:
        self.current = before
        if before or in_file or all(each.certificates is None for each in listeners):
            return
        try:
            check_supported()
        except TicketKeysUnsupported as error:
            _log.warn("TLS sessions are resumed by the same worker only: {why}", why=error)
        else:
            self.renew()

    def renew(self) -> str:
        """Make a new key, and return it."""
        self.current = secrets.token_hex(TICKET_KEY_BYTES)
        return self.current


def _self_signed(listeners: list[Listener]) -> tuple[str, str]:
    """Return the self-signed certificate of this run, and its key."""
    (pair,) = next(
        each.certificates.pairs.values() for each in listeners if each.certificates is not None
    )
    key: Any = pair.key.to_cryptography_key()
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pair.pem.decode(), text.decode()
