"""The metrics for Prometheus. They are made from integers when somebody asks, and never before."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import twisted
from twisted_net import __version__
from twisted_net.policy.close_reasons import REASONS
from twisted_net.policy.limits import OverflowPolicy
from twisted_net.web.admin.figures import (
    STATES,
    ServiceFigures,
    accepted_by_listener,
    certificate_expiries,
    compressed_bytes,
    ended_by_reason,
    handshakes_by_version,
    read_figures,
)
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.views import ServiceView

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_REFUSALS = ("full", "too-many", "too-fast", "denied")
_TRAFFIC = (
    ("received_bytes", "Bytes received from clients.", attrgetter("bytes_received")),
    ("sent_bytes", "Bytes given to clients' transports.", attrgetter("bytes_sent")),
    ("received_messages", "Messages received from clients.", attrgetter("messages_received")),
    (
        "sent_messages",
        "Messages given to clients' transports. A message to a room counts for each member.",
        attrgetter("messages_sent"),
    ),
)


class ServiceCollector(Collector):
    """Collects the metrics of all services of a process.

    :param figures: the numbers of each service.
    :param turns: the sampled turns of the reactor.
    """

    def __init__(self, figures: Mapping[ServiceView, ServiceFigures], turns: Histogram) -> None:
        self._figures = figures
        self._views = list(figures)
        self._turns = turns
        self._build = {
            "version": __version__,
            "python": platform.python_version(),
            "twisted": twisted.__version__,
            "openssl": ssl.OPENSSL_VERSION.split()[1],
        }

    def collect(self) -> Iterator[Metric]:
        build = self._build
        yield _gauge("build_info", "The versions that run.", {tuple(build.values()): 1}, [*build])
        yield from self._connections()
        yield from self._traffic()
        yield from self._tls()
        yield self._histogram(
            "reactor_turn_duration_seconds",
            "How long a turn of the reactor takes, sampled twice a second.",
            {(): self._turns},
        )
        appends: dict[tuple[str, ...], Histogram] = {
            (view.name,): view.appends for view in self._views if view.appends is not None
        }
        if appends:
            yield self._histogram(
                "store_append_duration_seconds",
                "Time until the messages of one turn and room are stored.",
                appends,
                ("service",),
            )
        yield self._each(
            "ready",
            "Whether the service accepts connections and its store works: 1 or 0.",
            lambda view: float(not view.not_ready),
        )

    def _connections(self) -> Iterator[Metric]:
        views = self._views
        opened: dict[tuple[str, ...], float] = {}
        for view in views:
            counts = self._figures[view].connections
            for form in sorted({form for form, _ in counts}.union(view.forms)):
                for state in (each.name.lower() for each in STATES):
                    opened[(view.name, form, state)] = counts[form, state]
        yield _gauge("connections", "Open connections.", opened, ("service", "form", "state"))
        yield _counter(
            "connections_accepted",
            "Connections that a listener has accepted, those refused later too.",
            _by_label(views, accepted_by_listener),
            ("service", "listener"),
        )
        yield _counter(
            "connections_ended",
            "Ended connections, by reason.",
            _by_label(views, _endings),
            ("service", "reason"),
        )
        yield _counter(
            "connections_refused",
            "Connections that were refused, by reason.",
            _by_label(views, _refusals),
            ("service", "reason"),
        )

    def _traffic(self) -> Iterator[Metric]:
        views = self._views
        for name, text, read in _TRAFFIC:
            values: dict[tuple[str, ...], float]
            values = {(view.name,): float(read(each)) for view, each in self._figures.items()}
            yield _counter(name, text, values, ("service",))
        yield self._each(
            "queued_bytes",
            "Bytes that wait for slow clients.",
            lambda view: self._figures[view].queued_bytes,
        )
        yield _counter(
            "dropped_messages",
            "Messages that slow clients have missed, by the rule of --slow.",
            _by_label(views, self._drops),
            ("service", "rule"),
        )
        yield _counter(
            "websocket_compressed_bytes",
            "Bytes of compressed WebSocket messages, each counted once for all its receivers.",
            {(each.name,): compressed_bytes(each) for each in views},
            ("service",),
        )
        rooms: dict[tuple[str, ...], float] = {
            (view.name,): view.room_count for view in views if view.room_count is not None
        }
        if rooms:
            yield _gauge("rooms", "Rooms with at least one member.", rooms, ("service",))

    def _tls(self) -> Iterator[Metric]:
        views = self._views
        yield _counter(
            "tls_handshakes",
            "Completed TLS handshakes, by version.",
            _by_label(views, handshakes_by_version),
            ("service", "version"),
        )
        expiries = _by_label(views, certificate_expiries)
        if expiries:
            yield _gauge(
                "certificate_expiry_timestamp_seconds",
                "When the first of a listener's certificates expires, in seconds since 1970.",
                expiries,
                ("service", "listener"),
            )

    def _each(
        self,
        name: str,
        text: str,
        read: Callable[[ServiceView], float],
    ) -> Metric:
        return _gauge(name, text, {(view.name,): read(view) for view in self._views}, ("service",))

    def _drops(self, view: ServiceView) -> dict[str, float]:
        rule = view.factory.limits.overflow_policy
        dropped = self._figures[view].dropped_messages
        return {each.value: dropped if each is rule else 0 for each in OverflowPolicy}

    @staticmethod
    def _histogram(
        name: str,
        text: str,
        histograms: Mapping[tuple[str, ...], Histogram],
        labels: Sequence[str] = (),
    ) -> Metric:
        family = HistogramMetricFamily(f"twisted_net_{name}", text, labels=labels)
        for values, each in histograms.items():
            family.add_metric(values, each.buckets(), each.total)
        return family


async def collect_metrics(views: Iterable[ServiceView], turns: Histogram) -> ServiceCollector:
    """Return a collector with the numbers of all services.

    :param turns: the sampled turns of the reactor.
    """
    return ServiceCollector({view: await read_figures(view) for view in views}, turns)


async def read_metrics(views: Iterable[ServiceView], turns: Histogram) -> bytes:
    """Return all metrics in Prometheus' text format, version 0.0.4.

    :param turns: the sampled turns of the reactor.
    """
    return generate_latest(await collect_metrics(views, turns))


def _by_label(
    views: Iterable[ServiceView], read: Callable[[ServiceView], Mapping[str, float]]
) -> dict[tuple[str, ...], float]:
    return {(view.name, label): value for view in views for label, value in read(view).items()}


def _endings(view: ServiceView) -> dict[str, float]:
    endings = ended_by_reason(view)
    return {code: endings[code] for code in {**REASONS, **endings}}  # programs may have their own


def _refusals(view: ServiceView) -> dict[str, float]:
    admission = view.factory.admission
    return {code: 0 if admission is None else admission.refused[code] for code in _REFUSALS}


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    text: str,
    values: Mapping[tuple[str, ...], float],
    labels: Sequence[str],
) -> Metric:
    family = kind(f"twisted_net_{name}", text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


_gauge = partial(_family, GaugeMetricFamily)
_counter = partial(_family, CounterMetricFamily)
