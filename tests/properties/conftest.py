"""What all properties share: nobody reads the warnings of workers that die a thousand times."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import databases
from tests.clusters import Server
from tests.properties.grounds import Ground, PostgresGround, SqliteGround

GROUNDS = {"sqlite": "sqlite_ground", "postgresql": "postgres_ground"}


@pytest.fixture(scope="session")
def sqlite_ground(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> SqliteGround:
    """Worlds on SQLite."""
    return SqliteGround(empty_database, tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="session")
def postgres_ground(postgres: Server) -> Iterator[PostgresGround]:
    """Worlds on PostgreSQL, in a database of their own."""
    name = postgres.make()
    databases.make_empty(postgres.url(name))
    ground = PostgresGround(postgres.url(name))
    yield ground
    ground.close()
    postgres.drop(name)


@pytest.fixture(params=databases.ENGINES, scope="session")
def ground(request: pytest.FixtureRequest) -> Ground:
    """Where worlds are made, on each engine in turn."""
    found: Ground = request.getfixturevalue(GROUNDS[request.param])
    return found


@pytest.fixture(autouse=True)
def _is_quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("router", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
