"""A host with its own engine on the database of a router."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from router import Router
from tests.embedding.hosts import hosting
from tests.posting import StubSource


@pytest.fixture
def host(database: str) -> Iterator[Engine]:
    """A host's own engine."""
    with hosting(database) as engine:
        yield engine


@pytest.fixture
def router(database: str) -> Iterator[Router]:
    """A router that is not entered: to append it need not run."""
    router = Router(database, sources=[StubSource()])
    yield router
    router.log.store.close()
