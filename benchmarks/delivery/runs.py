"""One delivery of a log from its beginning, in this process, on the command's kind of loop."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from uvicorn.loops.auto import auto_loop_factory

from benchmarks.delivery.counts import Statements
from benchmarks.delivery.handlers import PLUGINS, Counted, Handle, Kind
from router import Event, Router
from router.cli.serve import tune_interpreter

T = TypeVar("T")
Options = Mapping[str, object]


class Run(msgspec.Struct, frozen=True):
    """What one delivery came to.

    Attributes:
        rate: Events a second, from the first call to the last.
        cpu: Microseconds of processor time an event, the start of the router included.
        calls: Of handlers that returned and count.
        counts: The statements by what they do.
        own: How many of them were those of failing deliveries.
        uncounted: Calls that do not count, failed or not.
    """

    rate: float
    cpu: float
    calls: int
    counts: Mapping[str, int]
    own: int
    uncounted: int

    @property
    def total(self) -> int:
        """How many statements there were."""
        return sum(self.counts.values())


def deliver(
    url: str,
    kind: Kind,
    *,
    total: int,
    options: Options | None = None,
    seconds: float = 0,
    fails: Callable[[Event], bool] = lambda event: False,
    counts: Callable[[Event], bool] = lambda event: True,
) -> Run:
    """Deliver a log to a plugin that does nothing, until ``total`` calls that count have returned.

    Args:
        url: Of the log.
        kind: Of handler.
        total: How many events count.
        options: Of the subscription, beside its start at the beginning.
        seconds: That a call takes.
        fails: Which events' calls raise.
        counts: Which events count.
    """

    async def run() -> Run:
        counted = Counted(total)
        uncounted: list[int] = []

        def handle(event: Event) -> None:
            if counts(event):
                counted(event)
            else:
                uncounted.append(event.position)
            if fails(event):
                raise RuntimeError("as it always does")

        router = make_router(url, {"one": (kind, handle)}, options=options, seconds=seconds)
        statements = Statements(router.log.store.engine)
        cpu = time.process_time()
        async with router:
            await counted.is_done.wait()
            cpu = time.process_time() - cpu
        if len(set(counted.positions)) != total or len(counted.positions) != total:
            raise RuntimeError("an event was handled twice, and the run is void")
        return Run(
            rate=counted.rate,
            cpu=cpu / total * 1e6,
            calls=total,
            counts=dict(statements.counts),
            own=statements.own,
            uncounted=len(uncounted),
        )

    return run_on_loop(run())


def make_router(
    url: str,
    handles: Mapping[str, tuple[Kind, Handle]],
    *,
    options: Options | None = None,
    seconds: float = 0,
) -> Router:
    """Return a router that delivers a log from its beginning to plugins of these names."""
    return Router(
        url,
        plugins=[PLUGINS[kind](name, do, seconds=seconds) for name, (kind, do) in handles.items()],
        subscriptions={name: {"start": "beginning", **(options or {})} for name in handles},
        receives=False,
    )


def run_on_loop(work: Coroutine[None, None, T]) -> T:
    """Run ``work`` as the command does: on its kind of loop, with the interpreter tuned."""
    tune_interpreter()
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(work)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
        yield Path(folder)


@contextmanager
def copy_of(folder: Path) -> Iterator[str]:
    """Yield the URL of a copy of the log in ``folder``, which nobody has open."""
    with temporary_folder() as copy:
        for path in folder.glob("router.db*"):
            shutil.copy(path, copy)
        yield f"sqlite:///{copy / 'router.db'}"
