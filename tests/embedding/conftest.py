"""A host with its own engine on the database of a router."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from router import Router
from tests.clusters import Server
from tests.embedding.hosts import hosting
from tests.embedding.shop import Shop, find_files, forget, load
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


@pytest.fixture
def shop(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """The shop of the page on embedding, with an empty database, on each engine in turn."""
    for name, text in find_files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    if engine_name == "sqlite":
        yield Shop(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")
        return
    server: Server = request.getfixturevalue("postgres")
    name = server.make()
    yield Shop(tmp_path, server.url(name))
    server.drop(name)


@pytest.fixture
def imported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The same, with all its tables, and ready to be imported into this process."""
    shop.migrate("upgrade", "head")
    for name, value in shop.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(shop.folder))
    yield shop
    load("database").engine.dispose()
    load("application").router.log.store.close()
    forget()
