"""A host with its own engine on the database of a router."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from router import Router
from tests.clusters import Server
from tests.embedding.hosts import hosting
from tests.embedding.shop import Shop, find_files, forget
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
def shop_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table, on each engine in turn."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    server: Server = request.getfixturevalue("postgres")
    name = server.make()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def shop(shop_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The shop of the page on embedding, with an empty database; it can be imported."""
    for name, text in find_files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    shop = Shop(tmp_path, shop_url)
    for name, value in shop.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield shop
    forget()
