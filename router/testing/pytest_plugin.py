"""The fixtures for tests of plugins. Nothing of the router is imported before one is asked for."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from router.testing.harness import Harness

FIXTURES = frozenset({"harness", "make_harness"})
RUNNERS = ("anyio", "asyncio", "trio")  # marks of plugins that run coroutines as tests, too


@pytest.fixture(scope="session")
def _empty_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an empty log, made once and copied for each harness."""
    path = tmp_path_factory.mktemp("router") / "empty.db"
    import_module("router.testing.harness").make_log(path)
    return path


@pytest.fixture
def make_harness(
    _empty_log: Path, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Callable[[], Harness]]":
    """Makes harnesses, each with a log of its own: see `router.testing.harness.Harness`."""
    kind: type[Harness] = import_module("router.testing.harness").Harness
    made: list[Harness] = []

    def make() -> "Harness":
        made.append(kind(tmp_path_factory.mktemp("harness"), empty=_empty_log))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def harness(make_harness: "Callable[[], Harness]") -> "Harness":
    """A router for this test: see `router.testing.harness.Harness`."""
    return make_harness()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test that asks for one of these fixtures, if nothing else runs it."""
    is_ours = FIXTURES.intersection(pyfuncitem.fixturenames)
    if not is_ours or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    if any(pyfuncitem.get_closest_marker(name) for name in RUNNERS):
        return None
    names = pyfuncitem._fixtureinfo.argnames  # as pytest itself does it
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
