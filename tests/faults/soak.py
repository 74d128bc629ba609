"""A soak: traffic for receivers and workers that are killed at random; all that is promised holds.

``python -m tests.faults.soak --notifications 200000`` runs a long one on a server of its own.
"""

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

import click

from tests import databases
from tests.faults import fleet
from tests.faults.fleet import Fleet, Member
from tests.faults.journal import Journal, find_breaches
from tests.faults.record import Record, Watcher
from tests.faults.traffic import Traffic, draw_order
from tests.faults.worker import EFFECTS, PLAIN, make_effects, write_plugins

DOUBLED = 0.25  # the share of notifications that is sent once more
FAILING = 0.005  # the share of calls that fail
SENDERS = 24
EACH = 3  # receivers, and workers
LOOK = 0.2  # seconds between two looks at how far all has come


@dataclass(frozen=True, slots=True)
class Size:
    """How long a soak is.

    Attributes:
        notifications: That differ from each other.
        subjects: Of their events.
        kills: How often a process is killed, a receiver and a worker in turn.
        seconds: That anything may stand still: far more than it needs. How long all of it takes
            depends on the machine, and on how many lanes are suspect.
        minutes: After which no more is sent, however much is left.
    """

    notifications: int
    subjects: int
    kills: int
    seconds: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen; times are in seconds."""

    notifications: int
    duplicates: int
    kills_of_receivers: int
    kills_of_workers: int
    refused: int
    unanswered: int
    slowest_answer: float
    sending: float
    delivering: float
    looks: int
    handled_again: int


class Soak:
    """One soak in ``folder``, on the empty log at ``url``."""

    def __init__(self, folder: Path, url: str, size: Size, *, seed: int) -> None:
        self._folder = folder
        self._size = size
        self._chance = random.Random(seed)  # noqa: S311  # the same each time
        self._record = Record(url)
        self._watcher = Watcher(self._record)
        self._journal = Journal(folder / f"{PLAIN}.txt")
        self._killed: list[Member] = []
        self._is_sent = False  # all that is to be
        self._failures: list[BaseException] = []  # of the thread that kills
        fleet.configure(folder, url)
        write_plugins(folder, failing=FAILING, plugins=(PLAIN, EFFECTS))
        make_effects(url)

    def run(self) -> Figures:
        """Run it, and check all that is promised."""
        numbers = draw_order(self._size.notifications, doubled=DOUBLED, chance=self._chance)
        with fleet.running(self._folder, receivers=EACH, workers=EACH) as found:
            ports = [member.port for member in found.receivers]
            traffic = Traffic(ports, subjects=self._size.subjects, chance=self._chance)
            began = time.monotonic()
            with self._watcher.watching(), self._killing(found, traffic):
                may_go_on = partial(self._may_go_on, traffic)
                is_early = partial(self._is_early, began)
                some = takewhile(is_early, numbers)
                asyncio.run(traffic.send(some, senders=SENDERS, may_go_on=may_go_on))
                sent, self._is_sent = time.monotonic(), True
            self._wait(partial(self._is_delivered, traffic), moving=self._how_far)
            delivered = time.monotonic()
            self._watcher.look()
            for member in found.members:
                member.wait_ready()
                member.stop()
        self._check(traffic)
        receivers = sum(member.is_receiver for member in self._killed)
        return Figures(
            notifications=len(traffic.answered),
            duplicates=sum(traffic.answered.values()) - len(traffic.answered),
            kills_of_receivers=receivers,
            kills_of_workers=len(self._killed) - receivers,
            refused=traffic.refused,
            unanswered=traffic.unanswered,
            slowest_answer=round(traffic.slowest, 2),
            sending=round(sent - began, 1),
            delivering=round(delivered - began, 1),
            looks=self._watcher.looks,
            handled_again=self._journal.repeats,
        )

    @contextmanager
    def _killing(self, found: Fleet, traffic: Traffic) -> Iterator[None]:
        """Kill processes while the block lasts, and until all kills are done."""

        def kill() -> None:
            try:
                for number in range(self._size.kills):
                    self._wait(
                        lambda: self._is_sent or self._steps(traffic) > number,  # noqa: B023
                        moving=lambda: len(traffic.answered),
                    )
                    if self._is_sent:
                        return
                    self._kill(found.workers if number % 2 else found.receivers)
            except BaseException as error:
                self._failures.append(error)

        thread = threading.Thread(target=kill, name="killer", daemon=True)
        thread.start()
        yield
        thread.join()
        if self._failures:
            raise self._failures[0]

    def _kill(self, members: Sequence[Member]) -> None:
        member = self._chance.choice(members)
        member.wait_ready()
        member.kill()
        self._killed.append(member)
        member.start()

    def _steps(self, traffic: Traffic) -> float:
        """Return how far the traffic has come, in steps that each end with a kill."""
        return len(traffic.answered) / self._size.notifications * (self._size.kills + 1)

    def _may_go_on(self, traffic: Traffic) -> bool:
        """Whether the next notification may be sent: the kills are to come throughout."""
        return bool(self._failures) or self._steps(traffic) < len(self._killed) + 2

    def _is_early(self, began: float, _number: int) -> bool:
        return time.monotonic() - began < 60 * self._size.minutes

    def _is_delivered(self, traffic: Traffic) -> bool:
        self._journal.refresh()
        is_handled = len(self._journal.handled) >= len(traffic.answered)
        return is_handled and self._record.is_delivered()

    def _how_far(self) -> tuple[int, ...]:
        return self._record.progress(), len(self._journal.lines)

    def _wait(self, condition: Callable[[], object], *, moving: Callable[[], object]) -> None:
        """Wait for a ``condition`` as long as something is ``moving`` towards it."""
        seen, moved = moving(), time.monotonic()
        while not condition():
            if (sight := moving()) != seen:
                seen, moved = sight, time.monotonic()
            assert time.monotonic() < moved + self._size.seconds, f"stands still at {seen}"
            time.sleep(LOOK)

    def _check(self, traffic: Traffic) -> None:
        self._record.check_log(must=set(traffic.answered), may=set())
        assert self._watcher.breaches == []
        assert list(find_breaches(self._journal.lines))[:5] == []
        assert self._journal.handled.keys() == set(range(1, self._record.head() + 1))
        self._record.check_effects()
        assert self._record.is_delivered()


@click.command()
@click.option("--notifications", default=200_000, show_default=True)
@click.option("--subjects", default=5_000, show_default=True)
@click.option("--kills", default=60, show_default=True)
@click.option("--seconds", default=120.0, show_default=True, help="Of standing still.")
@click.option("--minutes", default=60.0, show_default=True, help="Of sending, at most.")
@click.option("--seed", default=1, show_default=True)
def main(
    notifications: int, subjects: int, kills: int, seconds: float, minutes: float, seed: int
) -> None:
    """Run a soak and print what was seen; fails where a promise was broken."""
    size = Size(notifications, subjects, kills, seconds, minutes)
    with databases.find_server() as server, tempfile.TemporaryDirectory() as folder:
        name = server.make()
        databases.make_empty(server.url(name))
        figures = Soak(Path(folder), server.url(name), size, seed=seed).run()
        server.drop(name)
    for name, value in asdict(figures).items():
        click.echo(f"{name.replace('_', ' '):>20}  {value}")


if __name__ == "__main__":
    main()
