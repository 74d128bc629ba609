"""Following a replay to its end, on stderr: how far it is, how fast, how long it will take."""

import sys
import time
from collections import deque
from collections.abc import Callable

import click

from router.claims import MISSING, PAUSED
from router.cli import output
from router.cli.output import note
from router.errors import UnknownName
from router.log import EventLog
from router.replay import Replays
from router.replay_record import Replay
from router.replay_states import DONE, PLANNED, RUNNING
from router.replay_states import PAUSED as HALTED
from router.status import Status

POLL = 0.5  # seconds between two looks
PATIENCE = 10  # looks after which it is said why nothing happens
SAMPLES = 20  # looks over which the speed is taken
WIDTH = 20  # of the bar


def follow(
    log: EventLog,
    started: Replay,
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> Replay:
    """Return the replay once it has ended, and tell on stderr how it goes until then.

    One that has paused itself is returned, too, since it waits for an operator. Ctrl-C leaves it
    running.

    Args:
        log: Where it is on record.
        started: The replay.
        sleep: Waits for some seconds.
        clock: Seconds, by which its speed is taken.
    """
    replays, found, line, looks, is_told = Replays(log), started, "", 0, False
    samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
    try:
        while not found.is_at_rest:
            samples.append((clock(), found.done + found.failed))
            line = _tell(_describe(found) + _estimate(found, samples), before=line)
            sleep(POLL)
            looks += 1
            found = replays.find(started.id)
            is_late = looks == PATIENCE or (found.state == HALTED and not found.is_at_rest)
            if is_late and not is_told and (why := _explain(log, found)):
                note(f"\n{why}" if sys.stderr.isatty() else why)
                is_told = True
    except KeyboardInterrupt:
        note(f"\nReplay {started.id} goes on: router replay show {started.id}")
        raise
    _tell(_describe(found), before=line, is_last=True)
    return found


def conclude(log: EventLog, started: Replay, *, wait: bool, as_json: bool) -> None:
    """End a command that has started a replay: print its id, and follow it to its end if wanted.

    Raises:
        click.exceptions.Exit: It was followed and did not succeed.
    """
    if not as_json:
        output.print_text(str(started.id))
    if wait:
        started = follow(log, started, sleep=time.sleep, clock=time.monotonic)
    if as_json:
        output.print_json(started.as_dict())
    if wait:
        require_success(started)
    elif not as_json:
        note(f"Replay {started.id} is planned: router replay show {started.id}")


def require_success(ended: Replay) -> None:
    """Exit with 1 unless all of a replay was handled."""
    if ended.failed or ended.state != DONE:
        raise click.exceptions.Exit(1)


def _describe(found: Replay) -> str:
    settled = f"{found.done} done, {found.failed} failed of {found.total}"
    settled += f", {found.retrying} wait for another attempt" if found.retrying else ""
    why = f" ({found.last_error})" if found.last_error else ""
    return f"replay {found.id} {found.state}: {settled}{why}"


def _estimate(found: Replay, samples: deque[tuple[float, int]]) -> str:
    """Return a bar, the speed and the time left, as far as they are known."""
    settled = found.done + found.failed
    total = max(found.total, settled)  # a rebuild goes on beyond what it was planned for
    full = WIDTH * settled // total if total else 0
    bar = f"  [{'#' * full}{'-' * (WIDTH - full)}]"
    (began, before), (now, after) = samples[0], samples[-1]
    if found.state != RUNNING or after == before or now <= began:
        return bar
    speed = (after - before) / (now - began)
    return f"{bar} {speed:,.0f}/s, {_span((total - settled) / speed)} left"


def _span(seconds: float) -> str:
    """Return a span of time in two units at most."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _tell(line: str, *, before: str, is_last: bool = False) -> str:
    """Show a line: over the line ``before`` on a terminal, else only at the end."""
    if sys.stderr.isatty():
        click.echo(f"\r{line:<{len(before)}}", err=True, nl=is_last)
    elif is_last:
        note(line)
    return line


def _explain(log: EventLog, found: Replay) -> str:
    """Return what a replay waits for; nothing where it goes on."""
    name = found.subscription
    if found.state == HALTED:
        return f"Replay {found.id} is paused: router replay resume {found.id}"
    try:
        state = Status(log.store).subscription(name).state
    except UnknownName:
        state = MISSING
    if state == PAUSED and found.state in (PLANNED, RUNNING):
        return f"{name} is paused: router subscriptions resume {name}"
    if found.state != PLANNED:
        return ""
    return f"No worker has taken it up: is `router serve` or `router worker` running, with {name}?"
