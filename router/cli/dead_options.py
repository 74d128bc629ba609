"""The options that choose dead letters: which are listed, redriven or discarded."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import click

from router.claims import LIVE
from router.cli import selection
from router.events import EVENT_TYPES
from router.filters import DeadFilter

T = TypeVar("T")

replay_option = click.option(
    "--replay",
    "run",
    type=click.IntRange(1, selection.LAST),
    metavar="ID",
    help="Of this replay, instead of live delivery.",
)
_FILTER_OPTIONS = [
    click.option(
        "--subscription",
        "subscriptions",
        multiple=True,
        metavar="NAME",
        help="Of this one. This and the next two may be given several times.",
    ),
    click.option(
        "--type",
        "types",
        multiple=True,
        type=click.Choice(EVENT_TYPES),
        help="Of events of this type.",
    ),
    click.option(
        "--subject",
        "subjects",
        multiple=True,
        metavar="TEXT",
        help="Of this subject, channel:conversation.",
    ),
    click.option(
        "--error",
        default="",
        metavar="TEXT",
        help="Whose error holds this text, in capitals or not.",
    ),
    click.option(
        "--since",
        type=selection.moment,
        metavar="TIME",
        help="First failed at this time or later; RFC 3339, or 2h for two hours ago.",
    ),
    click.option(
        "--until", type=selection.moment, metavar="TIME", help="First failed before this time."
    ),
    replay_option,
]

_position_option = click.option(
    "--position",
    "positions",
    multiple=True,
    type=selection.Position,
    metavar="POSITION",
    help="Of the event at this position; may be given several times.",
)
_all_option = click.option("--all", "is_all", is_flag=True, help="All of live delivery.")


def with_dead_filter(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that choose dead letters; it gets them as ``matching``."""

    @functools.wraps(command)
    def choose(
        *args: object,
        subscriptions: tuple[str, ...],
        types: tuple[str, ...],
        subjects: tuple[str, ...],
        error: str,
        since: datetime | None,
        until: datetime | None,
        run: int | None,
        positions: tuple[int, ...] = (),
        **kwargs: object,
    ) -> T:
        matching = DeadFilter(
            subscriptions=subscriptions,
            types=types,
            subjects=subjects,
            error=error,
            since=since,
            until=until,
            positions=positions,
            run=run or LIVE,
        )
        return command(*args, matching=matching, **kwargs)

    for option in reversed(_FILTER_OPTIONS):
        choose = option(choose)
    return choose


def with_choice(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command that changes dead letters the same, and refuse to run it without a choice."""

    @functools.wraps(command)
    def run(*args: object, matching: DeadFilter, is_all: bool, **kwargs: object) -> T:
        if matching == DeadFilter() and not is_all:
            raise click.UsageError("say which dead letters: give a filter, or --all for all")
        return command(*args, matching=matching, **kwargs)

    for option in (_all_option, _position_option):
        run = option(run)
    return with_dead_filter(run)
