"""The wheel as a user gets it: built from what is committed, installed by the user's own tools."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Of a hook's, a shell's or a developer's environment nothing may reach the installed package.
FOREIGN = ("GIT_", "PYTHON", "ROUTER_", "VIRTUAL_ENV", "PYTEST_", "COV_")


def clean_environ() -> dict[str, str]:
    """Return the environment as it would be if no test were running."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def run(*command: str | Path, folder: Path) -> str:
    """Run a command to its end; what it said is in the failure."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def find_uv() -> str:
    """Return the program that builds and installs."""
    return os.environ.get("UV") or shutil.which("uv") or pytest.fail("uv is not installed")


def make_clone(folder: Path) -> Path:
    """Return a clone of what is committed, without what lies about in the working directory."""
    head = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"], cwd=ROOT, capture_output=True, check=False
    )
    if head.returncode:
        pytest.skip("this is no git checkout with a commit")
    clone = folder / "notification-router"
    run("git", "clone", "--quiet", ROOT, clone, folder=ROOT)
    return clone


def build_wheel(clone: Path, folder: Path) -> Path:
    """Return the one wheel that is built from a clone, in ``folder``."""
    run(find_uv(), "build", "--quiet", "--wheel", "--out-dir", folder, clone, folder=folder)
    (built,) = folder.glob("*.whl")
    return built
