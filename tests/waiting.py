"""Waiting in tests: for a condition, never for a time."""

import asyncio
import time
from collections.abc import Callable

PAUSE = 0.003  # seconds between two looks


async def until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        AssertionError: It did not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{condition} did not come true in {seconds:g} s"
        await asyncio.sleep(PAUSE)
