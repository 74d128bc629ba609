"""What tests with a fleet share: a log of their own on PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests import databases
from tests.clusters import Server


@pytest.fixture
def postgres_log(postgres: Server) -> Iterator[str]:
    """The URL of an empty log on PostgreSQL, which nobody else uses."""
    name = postgres.make()
    databases.make_empty(postgres.url(name))
    yield postgres.url(name)
    postgres.drop(name)
