"""The router's metrics for Prometheus: a collector for a registry that the caller has made.

It needs the extra ``metrics``; nothing but this module imports it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from router.errors import ConfigError, RouterError
from router.listening import address_of
from router.log import EventLog
from router.meters import Readings, Registry, Spread
from router.status import Status, SubscriptionStatus
from router.threads import Threads

PATIENCE = 2.0  # seconds that a scrape waits for the database; Prometheus itself waits ten
FRESH = 1.0  # seconds in which several scrapes share one look at the database

Labels = tuple[str, ...]
L = TypeVar("L", bound=Labels)

logger = logging.getLogger("router.prometheus")

GAUGES: Sequence[tuple[str, str, Callable[[SubscriptionStatus], float]]] = (
    ("lag_events", "Events of the log behind the checkpoint", lambda one: one.lag),
    ("lag_seconds", "Age of the first event behind the checkpoint", lambda one: one.lag_seconds),
    ("parked_deliveries", "Deliveries that wait for another attempt", lambda one: one.retrying),
    ("blocked_subjects", "Subjects that wait behind a failed delivery", lambda one: one.blocked),
    ("dead_deliveries", "Deliveries that were given up", lambda one: one.dead),
)


class Collector:
    """Shows what this process has done with ``log``, and how the subscriptions stand.

    Args:
        log: Its meters are shown.
        look: Reads how the subscriptions stand; may block.
        patience: Seconds that a scrape waits for that.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        look: Callable[[], Sequence[SubscriptionStatus]] | None = None,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meters = log.meters
        self._look = look or Status(log.store).subscriptions
        self._patience = patience
        self._monotonic = monotonic
        self._threads = Threads(1, name="router-metrics")
        self._looking: Future[Sequence[SubscriptionStatus]] | None = None
        self._looked_at = float("-inf")

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without samples: to register asks no database."""
        yield from make_sums(Readings())
        yield from make_gauges(None)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their samples."""
        yield from make_sums(self._meters.read())
        yield from make_gauges(self._find())

    def close(self) -> None:
        """Let go of the thread."""
        self._threads.shutdown()

    def _find(self) -> Sequence[SubscriptionStatus] | None:
        """Return how the subscriptions stand, or None while the database does not say.

        A look that hangs is waited for again by later scrapes: there is never a second one.
        """
        looking = self._looking
        is_old = self._monotonic() - self._looked_at >= FRESH
        if looking is None or (is_old and looking.done()):
            looking = self._looking = self._threads.submit(self._look)
            self._looked_at = self._monotonic()
        try:
            return looking.result(self._patience)
        except Exception as error:  # whatever it is, the sums of the process are shown
            logger.warning("the subscriptions cannot be measured: %s", type(error).__name__)
            return None


@contextmanager
def exposing(log: EventLog, registry: Registry) -> Iterator[None]:
    """Show the metrics of a router's ``log`` in ``registry`` while the block lasts.

    Raises:
        ConfigError: The registry shows those of another router.
    """
    collector = Collector(log)
    try:
        registry.register(collector)
    except ValueError as error:
        collector.close()
        raise ConfigError(f"give each router a registry of its own: {error}") from error
    try:
        yield
    finally:
        registry.unregister(collector)
        collector.close()


def make_sums(now: Readings) -> Iterator[Metric]:
    """Yield what a process has done since it began."""
    yield make_counter(
        "notifications_received",
        "Notifications that came in, by source; an unknown source has no name",
        ("source",),
        {(source,): number for source, number in now.received.items()},
    )
    yield make_counter(
        "notifications_rejected",
        "Notifications that were not answered 200",
        ("source", "reason"),
        now.rejected,
    )
    yield make_counter(
        "notifications_appended",
        "Notifications that were stored, for at least one new event",
        ("source",),
        {(source,): number for source, number in now.notifications.items()},
    )
    yield make_counter("events_appended", "Events that were stored", ("source", "type"), now.events)
    yield make_counter(
        "events_deduplicated",
        "Events that were left out, since they were known",
        ("source",),
        {(source,): number for source, number in now.known.items()},
    )
    yield make_histogram(
        "append_duration_seconds", "Time in which a batch was stored", (), {(): now.append_seconds}
    )
    yield make_histogram(
        "append_batch_notifications", "Notifications in a batch", (), {(): now.batch_size}
    )
    yield make_gauge("append_waiting_notifications", "Notifications in the queue", now.waiting)
    yield make_counter(
        "deliveries",
        "Deliveries that are done, or given up, on record",
        ("subscription", "run", "outcome"),
        {
            (name, run, "done" if outcome == "done" else "dead"): number
            for (name, run, outcome), number in now.deliveries.items()
        },
    )
    yield make_histogram(
        "handler_duration_seconds",
        "Time that calls of handlers took",
        ("subscription", "outcome"),
        now.call_seconds,
    )


def make_gauges(found: Sequence[SubscriptionStatus] | None) -> Iterator[Metric]:
    """Yield how the subscriptions stand, by all processes' doing; None where nobody knows."""
    yield make_gauge("database_up", "Whether the database answered this scrape", found is not None)
    for name, help_, measure in GAUGES:
        family = GaugeMetricFamily(f"router_subscription_{name}", help_, labels=("subscription",))
        for one in found or ():
            family.add_metric((one.name,), measure(one))
        yield family


def make_gauge(name: str, help_: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(f"router_{name}", help_, value=float(value))


def make_counter(name: str, help_: str, labels: Labels, sums: Mapping[L, int]) -> Metric:
    """Return a counter; its name in what is scraped ends with ``_total``."""
    family = CounterMetricFamily(f"router_{name}", help_, labels=labels)
    for values, number in sorted(sums.items()):
        family.add_metric(tuple(map(make_value, values)), number)
    return family


def make_histogram(name: str, help_: str, labels: Labels, spreads: Mapping[L, Spread]) -> Metric:
    """Return a histogram."""
    family = HistogramMetricFamily(f"router_{name}", help_, labels=labels)
    for values, spread in sorted(spreads.items(), key=lambda pair: pair[0]):
        family.add_metric(tuple(map(make_value, values)), list(add_up(spread)), spread.total)
    return family


def make_value(text: str) -> str:
    """Return the value of a label for one of our words; an outcome may have two of them."""
    return text.replace(" ", "_")


def add_up(spread: Spread) -> Iterable[tuple[str, float]]:
    """Yield each bound with how many values lie at or below it."""
    total = 0
    for bound, number in zip((*spread.bounds, "+Inf"), spread.counts, strict=True):
        total += number
        yield str(bound), total


@contextmanager
def serving(log: EventLog, *, host: str, port: int) -> Iterator[str]:
    """Show the metrics of ``log`` and of this process over HTTP; yields where.

    On threads of its own: an event loop that a handler holds up is what metrics are to tell of.

    Raises:
        RouterError: The port cannot be bound.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    with exposing(log, registry):
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise RouterError(
                f"nothing can listen at {host} port {port}, {error}: choose another place"
            ) from error
        where = address_of(server.socket, scheme="http") + "/metrics"
        logger.info("metrics at %s", where)
        try:
            yield where
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
