"""Tests of `router.prometheus`: what is scraped is what the log holds, and harms nobody."""

import json
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy import Connection, func, select

from router import Reject, Retry, Router, prometheus
from router.context import Context
from router.errors import ConfigError, RouterError, Unreadable, Unverified
from router.events import Draft, Event
from router.hookspecs import hookimpl
from router.log import EventLog
from router.prometheus import Collector
from router.sources import Request
from router.status import Status, SubscriptionStatus
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.scraping import pick, scrape
from tests.waiting import until

PATIENT = 10.0  # seconds, where a scrape is to wait for whatever it asks


class Faulty:
    """What a plugin does that has faults: it goes by what the event says.

    Attributes:
        calls: The word of each event it was called with, once a call.
    """

    plugin_name = "crm"

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def handle(self, event: Event, attempt: int) -> None:
        """Do as the event says."""
        word = cast("Mapping[str, str]", event.payload)["do"]
        self.calls[word] += 1
        if word == "come again" and attempt == 1:
            raise Retry("not yet", after=0.001)
        if word == "refuse":
            raise Reject("never")
        if word == "break":
            raise ValueError("broken")

    @hookimpl
    def subscription_options(self) -> Mapping[str, object]:
        """Give up after three attempts."""
        return {"retry": {"first": "1ms", "attempts": 3, "jitter": False}}


class Plain(Faulty):
    """It has a plain handler."""

    @hookimpl
    def on_event(self, event: Event, context: Context) -> None:
        """Take an event."""
        self.handle(event, context.attempt)


class Waiting(Faulty):
    """It has an async handler."""

    @hookimpl
    async def on_event(self, event: Event, context: Context) -> None:
        """Take an event."""
        self.handle(event, context.attempt)


class Transactional(Faulty):
    """It has a transactional handler."""

    @hookimpl
    def on_event(self, event: Event, context: Context, connection: Connection) -> None:
        """Take an event."""
        self.handle(event, context.attempt)


def split(body: bytes) -> Sequence[Draft]:
    """Find an event in each element of a list; each has a conversation of its own."""
    try:
        items = json.loads(body)
    except ValueError as error:
        raise Unreadable("no JSON") from error
    return [
        Draft(f"$[{at}]", item["type"], "text", conversation=str(item["number"]))
        for at, item in enumerate(items)
    ]


def verify(request: Request) -> None:
    """Refuse who says that it is a stranger."""
    if "stranger" in request.headers:
        raise Unverified("a stranger")


def body_of(*words: str, first: int = 1, type_: str = "message") -> bytes:
    """Return a notification with one event for each of ``words``."""
    items = [
        {"do": word, "number": number, "type": type_} for number, word in enumerate(words, first)
    ]
    return json.dumps(items).encode()


def read_counts(log: EventLog) -> dict[str, dict[tuple[str, ...], int]]:
    """Count the rows of a log, by table."""
    tables = log.store.tables
    event, parked, attempt = tables.event.c, tables.parked.c, tables.attempt.c
    queries = {
        "notification": select(tables.notification.c.source, func.count()),
        "event": select(tables.notification.c.source, event.type, func.count()).join(
            tables.notification, tables.notification.c.id == event.notification_id
        ),
        "parked": select(parked.subscription, parked.state, func.count()),
        "attempt": select(attempt.subscription, attempt.outcome, func.count()),
    }
    found = {}
    with log.store.reading() as connection:
        for name, query in queries.items():
            *keys, _ = query.selected_columns
            rows = connection.execute(query.group_by(*keys))
            found[name] = {tuple(row[:-1]): row[-1] for row in rows}
    return found


@pytest.mark.parametrize("kind", [Plain, Waiting, Transactional])
@in_loop
async def test_the_sums_are_those_of_the_log(database: str, kind: type[Faulty]) -> None:
    """After redelivered and refused requests, failures, retries and dead letters all sums agree."""
    registry, plugin = CollectorRegistry(), kind()
    source = StubSource(splits=split, verifies=verify)
    router = Router(database, sources=[source], plugins=[plugin], max_body=1_000, metrics=registry)
    statuses: list[int] = []

    async def post(body: bytes, path: str = "/webhooks/wa", **headers: str) -> None:
        answer = await ask(app, path, body=body, headers=list(headers.items()))
        statuses.append(answer.status)

    async with router:
        app, status = router.asgi(), Status(router.log.store)
        await post(body_of("go", "go", "come again", "break"))
        await post(body_of("go", "refuse", first=5, type_="sent"))
        await post(body_of("go", "refuse", first=5, type_="sent"))
        await post(body_of("come again", "go", "break", "break", first=7))
        await post(body_of("go", "go", "come again", "break"))
        await post(b"no JSON")
        await post(body_of("go", first=90), stranger="yes")
        await post(body_of("go", first=90), path="/webhooks/nobody")
        await post(body_of(*["go"] * 40, first=90))
        await until(lambda: status.subscription("crm").lag == 0)
        await until(lambda: status.subscription("crm").retrying == 0)
        await router.drain()
        await post(body_of("go", first=90))
        samples, rows = scrape(registry), read_counts(router.log)

    assert statuses == [200, 200, 200, 200, 200, 400, 401, 404, 413, 503]
    assert pick(samples, "router_notifications_received_total") == {("wa",): 9, ("",): 1}
    assert pick(samples, "router_notifications_rejected_total") == {
        ("wa", "unreadable"): 1,
        ("wa", "unverified"): 1,
        ("", "unknown_source"): 1,
        ("wa", "too_large"): 1,
        ("wa", "unavailable"): 1,
    }
    assert pick(samples, "router_notifications_appended_total") == rows["notification"]
    assert pick(samples, "router_events_appended_total") == rows["event"]
    assert pick(samples, "router_events_deduplicated_total") == {("wa",): 6}
    assert samples["router_append_batch_notifications_sum", ()] == 5

    dead = rows["parked"]["crm", "dead"]
    assert rows["parked"] == {("crm", "dead"): dead}
    assert pick(samples, "router_deliveries_total") == {
        ("crm", "live", "done"): sum(rows["event"].values()) - dead,
        ("crm", "live", "dead"): dead,
    }
    assert pick(samples, "router_subscription_dead_deliveries") == {("crm",): dead}
    assert pick(samples, "router_subscription_lag_events") == {("crm",): 0}

    calls = pick(samples, "router_handler_duration_seconds_count")
    assert sum(calls.values()) == sum(plugin.calls.values())
    # Of what succeeded in the end no attempt is left on record.
    assert calls.pop(("crm", "done")) == sum(rows["event"].values()) - dead
    assert calls.pop(("crm", "retry")) == 2
    assert calls == rows["attempt"] == {("crm", "failed"): 9, ("crm", "rejected"): 1}


@pytest.mark.engines("sqlite")
@in_loop
async def test_routers_keep_to_their_registries(
    database: str, empty_database: Path, tmp_path: Path
) -> None:
    """Two routers count apart, each in its registry; the default one and the end show nothing."""
    before = {family.name for family in REGISTRY.collect()}
    one, two, plugin = CollectorRegistry(), CollectorRegistry(), Plain()
    first = Router(database, sources=[StubSource(splits=split)], metrics=one)
    other = shutil.copy(empty_database, tmp_path / "other.db")
    second = Router(f"sqlite:///{other}", sources=[StubSource(splits=split)], metrics=two)
    async with first, second:
        await ask(first.asgi(), "/webhooks/wa", body=body_of("go", "go"))
        await ask(second.asgi(), "/webhooks/wa", body=body_of("go"))
        appended = [
            pick(scrape(registry), "router_events_appended_total") for registry in (one, two)
        ]
        with pytest.raises(ConfigError, match="a registry of its own"):
            await Router(database, plugins=[plugin], metrics=one).__aenter__()
        assert pick(scrape(one), "router_events_appended_total") == appended[0]
        assert {family.name for family in REGISTRY.collect()} == before
    assert appended == [{("wa", "message"): 2}, {("wa", "message"): 1}]
    assert scrape(one) == scrape(two) == {}


@pytest.mark.engines("sqlite")
@in_loop
async def test_replays_are_counted_apart(database: str) -> None:
    """A replay's deliveries have its run as label; live ones do not grow by them."""
    registry, plugin = CollectorRegistry(), Transactional()
    source = StubSource(splits=split)
    async with Router(database, sources=[source], plugins=[plugin], metrics=registry) as router:
        await ask(router.asgi(), "/webhooks/wa", body=body_of("go", "go", "refuse"))
        await router.catch_up()
        replay = await router.replay("crm")
        await replay.result()
        deliveries = pick(scrape(registry), "router_deliveries_total")
    assert deliveries == {
        ("crm", "live", "done"): 2,
        ("crm", "live", "dead"): 1,
        ("crm", "replay", "done"): 2,
        ("crm", "replay", "dead"): 1,
    }


@pytest.mark.engines("sqlite")
@in_loop
async def test_without_the_extra_it_is_named(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where prometheus-client is missing a router with metrics does not start, and says why."""
    monkeypatch.delitem(sys.modules, "router.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(RouterError, match=r"notification-router\[metrics\]"):
        await Router(database, metrics=CollectorRegistry()).__aenter__()


def standing(name: str = "crm", *, lag: int = 3) -> SubscriptionStatus:
    """Return how a subscription stands."""
    return SubscriptionStatus(
        name=name,
        checkpoint=1,
        head=1 + lag,
        lag=lag,
        lag_seconds=1.5,
        retrying=4,
        blocked=5,
        dead=6,
        state="active",
        last_error=None,
        state_reason=None,
        lanes=1,
    )


def show(collector: Collector) -> CollectorRegistry:
    """Return a registry with ``collector``."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


@pytest.mark.engines("sqlite")
def test_subscriptions_are_shown_as_they_stand(log: EventLog) -> None:
    """Each subscription has its lag, in events and seconds, and what is parked, blocked, dead."""
    registry = show(Collector(log, look=lambda: [standing("crm"), standing("erp", lag=0)]))

    samples = scrape(registry)

    assert samples["router_database_up", ()] == 1
    assert pick(samples, "router_subscription_lag_events") == {("crm",): 3, ("erp",): 0}
    assert samples["router_subscription_lag_seconds", ("crm",)] == 1.5
    assert samples["router_subscription_parked_deliveries", ("crm",)] == 4
    assert samples["router_subscription_blocked_subjects", ("crm",)] == 5
    assert samples["router_subscription_dead_deliveries", ("crm",)] == 6


@pytest.mark.engines("sqlite")
def test_scrapes_share_a_look(log: EventLog) -> None:
    """To register looks nowhere; within a second the database is asked once."""
    looks: list[int] = []
    now = 100.0

    def look() -> list[SubscriptionStatus]:
        looks.append(1)
        return [standing(lag=len(looks))]

    registry = show(Collector(log, look=look, patience=PATIENT, monotonic=lambda: now))
    assert looks == []
    lags: list[float] = []
    for now in (100.0, 100.9, 101.0):  # noqa: B007 - the collector's clock reads it
        lags += pick(scrape(registry), "router_subscription_lag_events").values()

    assert lags == [1, 1, 2]


@pytest.mark.engines("sqlite")
def test_a_database_that_hangs_holds_up_no_scrape(log: EventLog) -> None:
    """The sums are shown without the subscriptions; it is not asked again until it answers."""
    answers, looks = threading.Event(), []

    def look() -> list[SubscriptionStatus]:
        looks.append(1)
        answers.wait()
        return [standing()]

    now = [0.0]
    collector = Collector(log, look=look, patience=0.01, monotonic=lambda: now[0])
    registry = show(collector)
    log.meters.receive("wa")
    for now[0] in (0.0, 5.0, 10.0):
        samples = scrape(registry)
        assert samples["router_database_up", ()] == 0
        assert samples["router_notifications_received_total", ("wa",)] == 1
        assert pick(samples, "router_subscription_lag_events") == {}
    assert len(looks) == 1

    answers.set()
    patient = show(Collector(log, look=look, patience=PATIENT))
    assert scrape(patient)["router_database_up", ()] == 1


@pytest.mark.engines("sqlite")
def test_a_database_that_fails_is_down(log: EventLog) -> None:
    """An error of the database is no error of the scrape."""

    def look() -> list[SubscriptionStatus]:
        raise OSError("gone")

    assert scrape(show(Collector(log, look=look)))["router_database_up", ()] == 0


@pytest.mark.engines("sqlite")
def test_labels_are_few(log: EventLog) -> None:
    """No label is for what anybody outside may think up."""
    log.meters.receive("wa")
    log.meters.reject("wa", "unverified")
    log.meters.deliver("crm", "live", {"done": 1})
    log.meters.call("crm", "timed out", 1.0)

    families = [*Collector(log, look=lambda: [standing()]).collect()]
    labels = {label for family in families for one in family.samples for label in one.labels}

    assert labels == {"source", "reason", "subscription", "run", "outcome", "le"}


@pytest.mark.engines("sqlite")
def test_metrics_have_a_port_of_their_own(log: EventLog) -> None:
    """Where they are served, the process itself is measured, too."""
    # Tests of the command ask it.
    with prometheus.serving(log, host="127.0.0.1", port=0) as where:
        assert where.startswith("http://127.0.0.1:")
        port = int(where.removesuffix("/metrics").rpartition(":")[2])
        with (
            pytest.raises(RouterError, match=f"127.0.0.1 port {port}"),
            prometheus.serving(log, host="127.0.0.1", port=port),
        ):
            pytest.fail("it serves")
