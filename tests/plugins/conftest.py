"""The timeline's tables, on each engine in turn."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from router.plugins.timeline.model import METADATA
from tests import databases
from tests.clusters import Server


@pytest.fixture(scope="module", params=databases.ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A database that holds the timeline's tables and nothing else."""
    if request.param == "sqlite":
        engine = create_engine("sqlite://")
        METADATA.create_all(engine)
        yield engine
        engine.dispose()
        return
    server: Server = request.getfixturevalue("postgres")
    name = server.make()
    engine = create_engine(server.url(name))
    METADATA.create_all(engine)
    yield engine
    engine.dispose()
    server.drop(name)
