"""Loads of a rate that is given, what handlers notice of it, and the highest rate without lag."""

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from statistics import linear_regression

import msgspec

from benchmarks import processes, wrk
from benchmarks.delivery.observed import FILE
from benchmarks.delivery.served import HANDLERS, write_plugins
from benchmarks.delivery.sightings import Sample, Seen
from benchmarks.engines import Database
from benchmarks.ingest import SECRET, name_run
from benchmarks.servers import write_settings

CONNECTIONS = 256
WARM = 2  # seconds
GROWTH = 0.02  # of the rate, by which lag grows a second at most where it counts as none
REACHED = 0.97  # of the rate, at least, that is answered
NEAR = 1.1  # a rate this much higher is not told apart
PLUGIN = """
from benchmarks.delivery.sightings import SIGHTINGS
from router import hookimpl

SIGHTINGS.expect("{name}")

@hookimpl
{keyword} on_event(event):
    SIGHTINGS.start("{name}", event.external_id)
"""


class Observation(msgspec.Struct, frozen=True):
    """A load, and what was seen meanwhile."""

    load: wrk.Load
    seen: Seen


def observe(
    database: Database, names: Sequence[str], *, rate: int, seconds: int, is_async: bool = True
) -> Observation:
    """Send signed notifications to a router with subscriptions of these names.

    Their handlers do nothing; the first seconds, with a tenth of the rate, do not count.
    """
    folder = database.folder
    settings = f'plugins_dir = ["{HANDLERS}"]\n' + write_settings(database.url, secret=SECRET)
    (folder / "router.toml").write_text(settings)
    keyword = "async def" if is_async else "def"
    write_plugins(folder, {name: PLUGIN.format(name=name, keyword=keyword) for name in names})
    port = processes.find_free_port()
    command = [sys.executable, "-m", "benchmarks.delivery.observed", str(port)]
    send = partial(wrk.load, port, connections=CONNECTIONS, secret=SECRET, marked=True)
    with processes.running(command, folder, port=port):
        send(rate=max(10, rate // 10), seconds=WARM, run=name_run())
        load = send(rate=rate, seconds=seconds, run=name_run())
    if load.errors:
        sys.exit(f"{load.errors} errors in {load.requests} requests: the run is void")
    seen = msgspec.json.decode((folder / FILE).read_bytes(), type=Seen)
    return Observation(load, cut(seen, seconds=seconds))


def cut(seen: Seen, *, seconds: int) -> Seen:
    """Return what was seen of the last ``seconds`` in which anything was answered."""
    rising = [
        later.seconds
        for one, later in zip(seen.samples, seen.samples[1:], strict=False)
        if later.answered > one.answered
    ]
    end = max(rising, default=0.0)
    return Seen(
        [wait for wait in seen.waits if end - seconds <= wait[0] <= end],
        [one for one in seen.samples if end - seconds <= one.seconds <= end],
    )


def keeps_up(samples: Sequence[Sample], *, rate: int, answered: float) -> bool:
    """Whether so many were answered a second, and lag did not grow in the second half.

    Args:
        samples: Of the load.
        rate: Notifications a second that were sent.
        answered: How many were answered a second.
    """
    half = samples[len(samples) // 2 :]
    if len(half) < 2 or answered < REACHED * rate:
        return False
    lags = [one.answered - one.started for one in half]
    slope, _start = linear_regression([one.seconds for one in half], lags)
    return slope <= GROWTH * rate


def find_bounds(
    is_kept: Callable[[int], bool], *, first: int, most: int, steps: int
) -> tuple[int, int | None]:
    """Return the highest rate that was kept, 0 if none was, and the lowest that was not, if any.

    It doubles or halves the rate until one is kept and a higher one is not, and goes between then.

    Args:
        is_kept: Tries a rate.
        first: The rate that is tried first.
        most: The highest that is tried.
        steps: How many are tried at most.
    """
    kept, rate = 0, first
    lost: int | None = None
    for _ in range(steps):
        if is_kept(rate):
            kept = rate
        else:
            lost = rate
        if kept >= most or (lost and kept and lost < NEAR * kept):
            break
        if lost is None:
            rate = min(most, kept * 2)
        else:
            rate = round(math.sqrt(kept * lost)) if kept else max(1, lost // 2)
    return kept, lost
