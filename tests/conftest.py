"""What all tests share: how hard Hypothesis tries, and where the samples of providers are."""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from router import postgresql
from router.log import EventLog
from router.options import Options
from router.store import Store
from router.subscriptions import Subscription
from tests import databases, sharing
from tests.bench import Bench, MakeBench
from tests.clusters import Server, find_memory
from tests.contention.standstill import SECONDS
from tests.workshop import MakeWorkshop, Workshop

LONG = {
    *("test_delivery_mutants.py", "test_soak.py", "test_database_outages.py", "test_statements.py"),
    *("test_tutorial.py", "test_wheel.py", "test_readme.py", "test_docs_testing.py"),
}

# What a commit asks of a disk takes as long as a test. That it is asked for is tested by itself.
if "TMPDIR" not in os.environ and (memory := find_memory()) is not None:
    os.environ["TMPDIR"] = tempfile.tempdir = str(memory)

# No deadline: an example that has to wait for a busy machine is not a failure.
settings.register_profile("default", deadline=None, max_examples=30)
settings.register_profile(
    "ci", deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)
# As hard as in ci, but whoever only asks whether a failure is found needs no smaller one.
settings.register_profile(
    "mutants", settings.get_profile("ci"), database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run all tests on all cores, file by file, where nothing else is asked for."""
    option = config.option
    is_worker = "PYTEST_XDIST_WORKER" in os.environ  # one of those that run them
    if is_worker or not config.pluginmanager.has_plugin("xdist"):
        return
    option.loadscopereorder = False  # the order is ours: see below
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and option.numprocesses is None:
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "loadfile"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Let there be two more than there are cores: some wait for processes that they started."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files of which a single test takes long: the short ones fill the end.

    Of the others, folders whose tests start processes come first, by their names.
    """
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_configure(config: pytest.Config) -> None:
    """Let tests share what each store would make for itself."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    sharing.begin(patch)


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what has been loaded, which stays to the end."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a database on each engine, or on those that its nearest mark names."""
    if "engine_name" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("engines")
        metafunc.parametrize("engine_name", databases.ENGINES if mark is None else mark.args)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of sample notifications with their expected events, beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the samples are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the tables of this version, made once and copied for each test."""
    path = tmp_path_factory.mktemp("database") / "router.db"
    databases.make_empty(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server to make databases on, whose clients may be as slow as a busy machine."""
    with databases.find_server() as server, pytest.MonkeyPatch.context() as patch:
        for limit in ("APPEND_LOCK", "APPEND_IDLE", "OTHER_LOCK", "OTHER_IDLE", "STATEMENT"):
            patch.setattr(postgresql, limit, 2 * SECONDS)
        yield server


@pytest.fixture(scope="session")
def postgres_database(postgres: Server) -> Iterator[str]:
    """The URL of a PostgreSQL database with the tables of this version; tests reset it."""
    name = postgres.make()
    databases.make_empty(postgres.url(name))
    yield postgres.url(name)
    databases.leave(postgres.url(name))
    postgres.drop(name)


@pytest.fixture
def database(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty log of this test's own, on each engine in turn."""
    if engine_name == "sqlite":
        return databases.copy(request.getfixturevalue("empty_database"), tmp_path)
    url: str = request.getfixturevalue("postgres_database")
    databases.reset(url)
    return url


@pytest.fixture
def clock() -> Callable[[], float]:
    """What the store goes by: the machine's clock, unless a module has one of its own."""
    return time.time


@pytest.fixture
def store(database: str, clock: Callable[[], float]) -> Iterator[Store]:
    """An open store with an empty log."""
    store = Store(database, clock=clock)
    yield store
    store.close()


@pytest.fixture
def postgres_store(postgres_database: str) -> Iterator[Store]:
    """An open store with an empty log on PostgreSQL."""
    databases.reset(postgres_database)
    store = Store(postgres_database)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(empty_database: Path, tmp_path: Path) -> Iterator[Store]:
    """An open store with an empty log on SQLite."""
    store = Store(databases.copy(empty_database, tmp_path))
    yield store
    store.close()


@pytest.fixture
def log(store: Store) -> EventLog:
    """An empty log."""
    return EventLog(store)


@pytest.fixture
def make_bench(store: Store) -> Iterator[MakeBench]:
    """Makes benches, each with one lane whose delivery is tested by hand."""
    made: list[Bench] = []

    def make(options: Options) -> Bench:
        made.append(Bench(store, options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def make_workshop(store: Store) -> Iterator[MakeWorkshop]:
    """Makes workshops, each with the parts of one lane's delivery."""
    made: list[Workshop] = []

    def make(subscription: Subscription) -> Workshop:
        made.append(Workshop(store, subscription))
        return made[-1]

    yield make
    for workshop in made:
        workshop.close()
