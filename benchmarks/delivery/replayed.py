"""One replay of a part of a log, in this process, on the command's kind of loop."""

import asyncio
import time

from sqlalchemy import create_engine, make_url

from benchmarks.delivery.handlers import TABLE, Counted, Kind, Upserting
from benchmarks.delivery.raw import Pass
from benchmarks.delivery.runs import make_router, run_on_loop
from router import EventLog, Router
from router.control import Control

NAME = "replayed"


def replay(url: str, kind: Kind, *, events: int, after: int = 0) -> Pass:
    """Replay ``events`` behind a position to a plugin that never ran, and forget it again.

    Async and plain handlers do nothing, a transactional one makes one UPSERT an event. The rate
    counts from the first call to the last.
    """

    async def run() -> Pass:
        counted = Counted(events)
        options: dict[str, object] = {"start": "now", "replay": "allow"}
        router = make_router(url, {NAME: (kind, counted)}, options=options)
        if kind == "transactional":
            _make_table(url)
            dialect = make_url(url).get_backend_name()
            router = _make_upserting(url, counted, dialect=dialect, options=options)
        async with router:
            desk = router.replays
            plan = await asyncio.to_thread(desk.plan, NAME, first=after + 1, end=after + events + 1)
            cpu = time.process_time()
            await asyncio.to_thread(desk.start, plan, reason="measured", by="benchmark")
            await counted.is_done.wait()
            cpu = time.process_time() - cpu
        if len(set(counted.positions)) != events or len(counted.positions) != events:
            raise RuntimeError("an event was handled twice, and the run is void")
        return Pass(counted.rate, cpu / events * 1e6)

    found = run_on_loop(run())
    forget(url, NAME)
    return found


def _make_upserting(
    url: str, counted: Counted, *, dialect: str, options: dict[str, object]
) -> Router:
    return Router(
        url,
        plugins=[Upserting(NAME, counted, dialect=dialect)],
        subscriptions={NAME: options},
        receives=False,
    )


def _make_table(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(TABLE)
    engine.dispose()


def forget(url: str, subscription: str) -> None:
    """Delete what is on record of a subscription, so that the next one of its name is new."""
    log = EventLog(url)
    Control(log.store).forget(subscription, actor="benchmark")
    log.store.close()
