"""`router events tail`: events as they come in."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from router.cli import output, selection
from router.cli.settings import with_log
from router.events import Event
from router.filters import Filter
from router.log import EventLog

POLL = 0.5  # seconds between two looks at the log
PAGE = 250


@click.command()
@output.json_option
@selection.after_option
@selection.with_filter
@with_log
def tail(log: EventLog, *, matching: Filter, after: int | None, as_json: bool) -> None:
    """Print events as they come in, one a line.

    Ctrl-C ends it. Begins at the end of the log, or with --after or --since further back.
    """
    start = find_start(log, after=after, matching=matching)
    with _until_signal():
        output.note(f"Events behind position {start}; Ctrl-C ends.")
        for event in follow(log, after=start, matching=matching, sleep=time.sleep):
            if as_json:
                output.print_line(event.as_dict())
            else:
                output.print_text(describe(event))


def find_start(log: EventLog, *, after: int | None, matching: Filter) -> int:
    """Return the position to start behind: the end, unless somebody wants what came before it."""
    if after is None and matching.since is None:
        return log.head()
    return log.narrow(after=after or 0, until=None, matching=matching)[0]


def follow(
    log: EventLog, *, after: int, matching: Filter, sleep: Callable[[float], None]
) -> Iterator[Event]:
    """Yield the matching events behind ``after``, for ever, each soon after it is in the log."""
    while True:
        page = log.read_page(after=after, limit=PAGE, matching=matching)
        yield from page.events
        after = page.reached
        if page.is_last:
            sleep(POLL)


def describe(event: Event) -> str:
    """Return an event as one line for a person."""
    said = (
        event.position,
        event.received_at,
        f"{event.type}/{event.subtype}",
        event.source,
        event.subject,
        event.external_id,
    )
    return output.GAP.join(output.as_cell(one) for one in said)


@contextmanager
def _until_signal() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block, as what they are: how one leaves."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
