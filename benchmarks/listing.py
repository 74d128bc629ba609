"""How soon `router events list` shows its first page: the command itself, in this process."""

import io
import os
import time
from collections.abc import Sequence
from contextlib import closing, redirect_stdout
from unittest.mock import patch

from benchmarks.engines import Database
from router import EventLog
from router.cli import router

CALLS = 40  # of each list at most
SECONDS = 5.0  # for each list, about


def find_lists(database: Database) -> dict[str, Sequence[str]]:
    """Return the options of each list by its name; the last two find nothing."""
    with closing(EventLog(database.url).store) as store:
        subject = next(EventLog(store).read(page=1)).subject
    return {
        "all": (),
        "type": ("--type", "read"),
        "subject": ("--subject", subject),
        "no type": ("--type", "error"),
        "no channel": ("--channel", "none"),
    }


def time_list(database: Database, options: Sequence[str]) -> list[float]:
    """Return the milliseconds that each call took, the opening of the log included.

    The start of an interpreter, which is the same for every command, is not.
    """
    arguments = ["events", "list", "--json", *options]
    took: list[float] = []
    end = time.perf_counter() + SECONDS
    with patch.dict(os.environ, ROUTER_DATABASE=database.url):
        while not took or (len(took) < CALLS and time.perf_counter() < end):
            began = time.perf_counter()
            with redirect_stdout(io.TextIOWrapper(io.BytesIO())):
                router(arguments, prog_name="router", standalone_mode=False)
            took.append((time.perf_counter() - began) * 1000)
    return took
