"""`router demo --live`: the traffic of the made-up shop flows into a router, and figures move."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from router import config, migrate
from router.app import Router
from router.cli import output
from router.cli.serve import run
from router.cli.simulation import Ending, Traffic, list_failures
from router.demo.service import running
from router.demo.story import ONLINE
from router.errors import RouterError
from router.events import EVENT_TYPES
from router.log import EventLog
from router.status import Status
from router.store import Store
from router.testing.coreapp.courier import Courier
from router.testing.coreapp.ledger import Count, Ledger, Summary
from router.testing.coreapp.playing import play
from router.testing.coreapp.routes import Rules
from router.testing.coreapp.settings import Callback
from router.testing.shop.shop import STATUSES, Shop

CONNECTIONS = 6  # as many as a Coreapp has
PATIENCE = 10.0  # seconds in which the plugins must come to the end of the log
_GLANCE = 0.05  # seconds between two looks at that


class Figures(msgspec.Struct, frozen=True):
    """How things stand at a moment.

    Attributes:
        seconds: Since the traffic began.
        count: Notifications: sent, acknowledged, waiting.
        events: In the log, by type.
        lags: How many positions each subscription is behind.
    """

    seconds: float
    count: Count
    events: Mapping[str, int]
    lags: Mapping[str, int]


Show = Callable[[Figures], None]


def play_live(
    settings: Path, traffic: Traffic, *, ledger: Ledger, console: Console, seed: int
) -> None:
    """Let traffic flow into the demo's router until it is over, or until Ctrl-C.

    Where nobody is in a hurry, every plugin has come to the end of the log when it returns.

    Args:
        settings: The project's `router.toml`.
        traffic: How much.
        ledger: Where what is sent is entered.
        console: Where figures are shown: in place on a terminal, else a line a second.
        seed: Of the shop.

    Raises:
        RouterError: The router cannot start, or its plugins do not keep up.
    """
    # Nothing of the environment: a demo must never find its way into somebody's real database.
    found = config.load(settings, environ={}, working=settings.parent, overrides={})
    store = Store(found.database, create=True)
    secret = (settings.parent / "secrets" / f"{ONLINE}-app-secret").read_text("utf-8").strip()
    shop = Shop(seed=seed, start=int(time.time()), pace=1 / traffic.rate)
    try:
        migrate.upgrade(store.engine, store.tables)
        with (
            running(Router.from_settings(found)) as address,
            _showing(console) as show,
        ):
            rules = Rules(allows_http=True, secret=secret.encode())
            url = f"{address}/webhooks/{ONLINE}"
            run(
                _flow(
                    shop, url, traffic, rules=rules, ledger=ledger, log=EventLog(store), show=show
                )
            )
    finally:
        store.close()


async def _flow(
    shop: Shop,
    url: str,
    traffic: Traffic,
    *,
    rules: Rules,
    ledger: Ledger,
    log: EventLog,
    show: Show,
) -> None:
    callback = Callback(url, STATUSES, persist=False, concurrency=CONNECTIONS, backoff=1, longest=5)
    courier = Courier(ledger, find_callback=lambda: callback, rules=rules)
    ending = Ending()
    ending.listen()
    loop = asyncio.get_running_loop()
    began = loop.time()
    watching = asyncio.ensure_future(_watch(log, ledger, began=began, show=show))
    try:
        flow = play(
            shop.draw(), courier, rate=traffic.rate, seconds=traffic.seconds, most=traffic.most
        )
        await ending.run(flow)
        await ending.settle(courier, grace=traffic.grace)
        await ending.wait(_catch_up(log))
    finally:
        watching.cancel()
        courier.close()
        await asyncio.sleep(0)  # for the connections that were broken off
    await asyncio.wait([watching])
    if not watching.cancelled():
        watching.result()
    show(await asyncio.to_thread(_look, log, ledger, loop.time() - began))


async def _watch(log: EventLog, ledger: Ledger, *, began: float, show: Show) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(1)
        show(await asyncio.to_thread(_look, log, ledger, loop.time() - began))


def _look(log: EventLog, ledger: Ledger, seconds: float) -> Figures:
    lags = {one.name: one.lag for one in Status(log.store).subscriptions()}
    return Figures(seconds, ledger.count(), log.count_by_type(), lags)


async def _catch_up(log: EventLog) -> None:
    """Wait until the plugins have come to the end of the log."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while any(one.lag for one in await asyncio.to_thread(Status(log.store).subscriptions)):
        if loop.time() > end:
            raise RouterError(
                f"the plugins did not come to the end of the log within {PATIENCE:g} s: this"
                " machine is too slow for that rate; try a lower one with --rate"
            )
        await asyncio.sleep(_GLANCE)


@contextmanager
def _showing(console: Console) -> Iterator[Show]:
    """Yield what shows figures."""
    if not console.is_terminal:
        yield lambda figures: console.print(_as_line(figures))
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda figures: live.update(_as_tables(figures), refresh=True)


def _as_line(figures: Figures) -> str:
    lag = max(figures.lags.values(), default=0)
    return (
        f"{figures.count.sent} sent, {figures.count.acknowledged} acknowledged, "
        f"{sum(figures.events.values())} events, lag {lag}"
    )


def _as_tables(figures: Figures) -> Group:
    count, seconds = figures.count, max(figures.seconds, 1e-9)
    notifications = Table("sent", "acknowledged", "waiting", "a second", box=None)
    speed = f"{count.acknowledged / seconds:.0f}"
    notifications.add_row(*(f"{one:,}" for one in count), speed)
    events = Table(*EVENT_TYPES, box=None)
    events.add_row(*(f"{figures.events.get(one, 0):,}" for one in EVENT_TYPES))
    lags = Table(*figures.lags, box=None)
    lags.add_row(*(f"{one:,} behind" for one in figures.lags.values()))
    return Group("Notifications", notifications, "Events", events, "Plugins", lags)


def print_live(summary: Summary, *, seed: int) -> None:
    """Print the sums."""
    latency = summary.latency_ms
    output.print_fields(
        {
            "notifications": f"{summary.notifications}, {summary.copies} of them copies",
            "acknowledged": summary.acknowledged,
            "waiting": summary.waiting,
            "failures": list_failures(summary),
            "events": summary.events,
            "latency": f"p50 {latency.p50 or 0:g} ms, p99 {latency.p99 or 0:g} ms",
            "seed": seed,
        }
    )
