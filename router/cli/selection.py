"""The options that select: which events, of what time, and how many of a list."""

import functools
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import click
import msgspec

from router.events import EVENT_TYPES
from router.filters import Filter
from router.log import EventLog
from router.options import parse_duration

T = TypeVar("T")

LAST = 2**63 - 1  # the highest position that a database can hold

Position = click.IntRange(0, LAST)


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Return the moment that ``text`` names, in UTC.

    Args:
        text: RFC 3339, or how long ago, such as ``2h``.
        now: What the latter counts from.

    Raises:
        ValueError: It is neither, or does not say its offset from UTC.
    """
    try:
        return now - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass  # it may be a moment
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is neither a time such as 2026-11-22T10:00:00Z nor a duration such as 2h"
        ) from error
    raise ValueError(f"{text!r} does not say its offset from UTC: write {moment.isoformat()}Z")


def moment(text: str) -> datetime:
    """Read a point in time of the command line."""
    try:
        return parse_moment(text, now=datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def duration(text: str) -> float:
    """Read a span of time of the command line, in seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class Number(click.FloatRange):
    """A number within bounds, which neither `inf` nor `nan` is, whatever the bounds."""

    def convert(
        self,
        value: Any,  # noqa: ANN401  # as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Read it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


_TEXTS = {
    "subtype": "Of this subtype, such as text or failed.",
    "source": "From this source.",
    "channel": "Of this number or account of the business.",
    "subject": "Of this subject, channel:conversation.",
}
_FILTER_OPTIONS = [
    click.option(
        "--type",
        "types",
        multiple=True,
        type=click.Choice(EVENT_TYPES),
        help="Of this type. This and the next four may be given several times.",
    ),
    *(
        click.option(f"--{name}", f"{name}s", multiple=True, metavar="TEXT", help=text)
        for name, text in _TEXTS.items()
    ),
    click.option(
        "--since",
        type=moment,
        metavar="TIME",
        help="Received at this time or later; RFC 3339, or 2h for two hours ago.",
    ),
    click.option("--until", type=moment, metavar="TIME", help="Received before this time."),
    click.option(
        "--reparsed", is_flag=True, help="Found by `router events reparse`, not when received."
    ),
]


def with_filter(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that choose events; it gets them as ``matching``."""

    @functools.wraps(command)
    def run(
        *args: object,
        types: tuple[str, ...],
        subtypes: tuple[str, ...],
        sources: tuple[str, ...],
        channels: tuple[str, ...],
        subjects: tuple[str, ...],
        since: datetime | None,
        until: datetime | None,
        reparsed: bool,
        **kwargs: object,
    ) -> T:
        matching = Filter(
            types=types,
            subtypes=subtypes,
            sources=sources,
            channels=channels,
            subjects=subjects,
            since=since,
            until=until,
            reparsed=reparsed,
        )
        return command(*args, matching=matching, **kwargs)

    for option in reversed(_FILTER_OPTIONS):
        run = option(run)
    return run


def choose(log: EventLog, matching: Filter, events: Iterable[str]) -> Filter:
    """Return the filter that also chooses these events, named by position or id.

    Raises:
        UnknownName: One is not in the log.
    """
    ids = tuple(dict.fromkeys(log.find(name).id for name in events))
    return msgspec.structs.replace(matching, ids=ids)


after_option = click.option(
    "--after", type=Position, metavar="POSITION", help="Only events behind this position."
)
limit_option = click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 2**31),
    help="How many, at most.",
)


_CURSOR_HELP = "Go on where a list ended: its next_cursor."
cursor_option = click.option("--cursor", metavar="CURSOR", help=_CURSOR_HELP)
position_cursor_option = click.option(
    "--cursor", type=Position, metavar="CURSOR", help=_CURSOR_HELP
)


def take(found: Iterable[T], limit: int) -> tuple[list[T], bool]:
    """Return at most ``limit`` of what was ``found``, and whether there is more."""
    items = list(islice(found, limit + 1))
    return items[:limit], len(items) > limit
