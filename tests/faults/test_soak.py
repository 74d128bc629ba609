"""Receivers and workers of one PostgreSQL log are killed at random: every promise is kept.

The long one is a command: see `tests.faults.soak`.
"""

from pathlib import Path

import pytest

from tests import databases
from tests.clusters import Server
from tests.faults.soak import Size, Soak

SIZE = Size(notifications=3_000, subjects=75, kills=10, seconds=120, minutes=60)


@pytest.mark.slow
def test_a_fleet_that_is_killed_at_random_keeps_every_promise(
    tmp_path: Path, postgres: Server
) -> None:
    """Ten kills: nothing lost, doubled, out of order or seen before its time; effects once."""
    name = postgres.make()
    databases.make_empty(postgres.url(name))
    print(f"\n{Soak(tmp_path, postgres.url(name), SIZE, seed=1).run()}")  # noqa: T201  # for -s
    postgres.drop(name)
