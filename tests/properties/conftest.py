"""What all properties share: nobody reads the warnings of workers that die a thousand times."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _is_quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("router", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
