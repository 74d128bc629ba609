"""The wheel, built from a clean clone: all that is tracked is in it, and it works by itself."""

import json
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.typed import if_typed
from tests.wheels import build_wheel, find_uv, make_clone, run

LINKS = {"router/plugins": "plugins", "router/migrations": "migrations"}
UPGRADE = ["router", "db", "upgrade"]


@pytest.fixture(scope="module")
def uv() -> str:
    """The program that builds and installs."""
    return find_uv()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and nothing that lies about in the working directory."""
    return make_clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one wheel that is built from the clone."""
    return build_wheel(clone, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment, folder=folder)
    python = environment / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, wheel, "pytest", folder=folder)
    return environment


def names_in(wheel: Path) -> set[str]:
    """The names of the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_every_tracked_file_is_in_the_wheel(clone: Path, wheel: Path) -> None:
    """The wheel holds the three folders as they are tracked: nothing less, and nothing more."""
    tracked = run("git", "ls-files", "router", *LINKS.values(), folder=clone).splitlines()
    places = {folder: link for link, folder in LINKS.items()}
    expected = set()
    for name in tracked:
        if name not in LINKS:
            top, _, rest = name.partition("/")
            expected.add(f"{places.get(top, top)}/{rest}")

    assert {name for name in names_in(wheel) if name.startswith("router/")} == expected


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    """Installing it puts `router` and its description into the environment, and no other name."""
    tops = {PurePosixPath(name).parts[0] for name in names_in(wheel)}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"router"}
    assert len(tops) == 2


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    """The full text of the licence travels with the code."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names_in(wheel))


def test_the_installed_wheel_creates_a_log(environment: Path, tmp_path: Path) -> None:
    """From a fresh environment, in an empty folder, one command makes the database."""
    run(environment / "bin" / UPGRADE[0], *UPGRADE[1:], folder=tmp_path)

    assert [path.name for path in tmp_path.glob("*.db")] == ["router.db"]


@pytest.fixture
def plugin(environment: Path, tmp_path: Path) -> Path:
    """A new plugin, as the installed command writes it, tests and all."""
    run(environment / "bin" / "router", "plugins", "new", "crm-sync", folder=tmp_path)
    return tmp_path / "crm-sync"


@pytest.mark.slow
@if_typed
def test_mypy_is_content_with_a_plugin(environment: Path, plugin: Path) -> None:
    """What a user writes against the installed wheel passes mypy's strictest checks."""
    words = ("-m", "mypy", "--strict", *mypy_options(environment))

    run(sys.executable, *words, "crm_sync", "tests", folder=plugin)


@pytest.mark.slow
@if_typed
def test_mypy_finds_what_is_wrong(environment: Path, plugin: Path) -> None:
    """The types of the wheel are seen: a wrong argument is an error."""
    break_types(plugin)
    words = ("-m", "mypy", "--strict", *mypy_options(environment))

    with pytest.raises(AssertionError, match="has incompatible type"):
        run(sys.executable, *words, "crm_sync", folder=plugin)


@pytest.mark.slow
def test_pyright_is_content_with_a_plugin(environment: Path, plugin: Path) -> None:
    """What a user writes against the installed wheel passes pyright's strict checks."""
    check_with_pyright(environment, plugin)


@pytest.mark.slow
def test_pyright_finds_what_is_wrong(environment: Path, plugin: Path) -> None:
    """The types of the wheel are seen: a wrong argument is an error."""
    break_types(plugin)

    with pytest.raises(AssertionError, match="reportArgumentType"):
        check_with_pyright(environment, plugin)


def mypy_options(environment: Path) -> tuple[str | Path, ...]:
    """Return whose packages are looked at, and where what was found of them is kept."""
    python = environment / "bin" / "python"
    return ("--python-executable", python, "--cache-dir", environment.parent / "mypy")


def break_types(plugin: Path) -> None:
    """Let the plugin give a reason that is no text."""
    module = plugin / "crm_sync" / "__init__.py"
    text = module.read_text("utf-8")
    module.write_text(text.replace('Retry("the provider reports a failure"', "Retry(5"), "utf-8")
    assert "Retry(5" in module.read_text("utf-8")


def check_with_pyright(environment: Path, plugin: Path) -> None:
    """Have basedpyright, which brings its Node with it, judge as pyright does when strict."""
    pytest.importorskip("basedpyright", reason="the group of types is not installed")
    settings = {"typeCheckingMode": "strict", "include": ["crm_sync", "tests"]}
    (plugin / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    python = environment / "bin" / "python"

    run(sys.executable, "-m", "basedpyright", "--pythonpath", python, folder=plugin)
