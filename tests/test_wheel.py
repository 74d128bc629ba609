"""The wheel, built from a clean clone: all that is tracked is in it, and it works by itself."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]

LINKS = {"router/plugins": "plugins", "router/migrations": "migrations"}
UPGRADE = ["router", "db", "upgrade"]


# Of a hook's, a shell's or a developer's environment nothing may reach the installed package.
FOREIGN = ("GIT_", "PYTHON", "ROUTER_", "VIRTUAL_ENV")


def run(*command: str | Path, folder: Path) -> str:
    """Run a command to its end; what it said is in the failure."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    """The program that builds and installs."""
    return os.environ.get("UV") or shutil.which("uv") or pytest.fail("uv is not installed")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and nothing that lies about in the working directory."""
    head = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"], cwd=ROOT, capture_output=True, check=False
    )
    if head.returncode:
        pytest.skip("this is no git checkout with a commit")
    folder = tmp_path_factory.mktemp("clone") / "notification-router"
    run("git", "clone", "--quiet", ROOT, folder, folder=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(uv: str, clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one wheel that is built from the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder, clone, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


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


def test_the_installed_wheel_creates_a_log(uv: str, wheel: Path, tmp_path: Path) -> None:
    """From a fresh environment, in an empty folder, one command makes the database."""
    environment = tmp_path / "environment"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment, folder=tmp_path)
    python = environment / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, wheel, folder=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()

    run(environment / "bin" / UPGRADE[0], *UPGRADE[1:], folder=empty)

    assert [path.name for path in empty.glob("*.db")] == ["router.db"]
