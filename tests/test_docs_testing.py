"""The page on testing plugins keeps its word: its files are typed, and its tests pass as shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from router.testing.conformance.sources import CHECKS
from tests.typed import CACHE, if_typed

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "test-your-plugin.md").read_text("utf-8")
FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(FILE.findall(PAGE))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files of the page, each where its first line says."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def run(folder: Path, *command: str, **environ: str) -> str:
    """Run a module of Python's in ``folder`` and return what it says; it must succeed."""
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_block_is_a_file() -> None:
    """No Python is shown that is not run below."""
    assert PAGE.count("```python") == len(FILES) == 6


@pytest.mark.slow
def test_what_is_shown_passes(project: Path) -> None:
    """In a project of these files, without any other plugin, all tests pass, warnings or not."""
    said = run(project, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:anyio")
    assert re.search(rf"^{len(CHECKS) + 5} passed", said, re.MULTILINE), said


def test_as_many_promises_are_told_as_there_are() -> None:
    """The page tells how many cases there are for sources."""
    assert f"There are {len(CHECKS)}." in PAGE


@pytest.mark.slow
@if_typed
def test_what_is_shown_is_typed(project: Path) -> None:
    """The strictest type check finds nothing in the files, nor in what they use of the router."""
    (project / "installed").mkdir()
    (project / "installed" / "router").symlink_to(ROOT / "router")
    options = ("--strict", "--explicit-package-bases", "--namespace-packages")
    cached = ("--cache-dir", str(CACHE))
    run(
        project, "mypy", *options, *cached, "handlers", "tests", MYPYPATH=str(project / "installed")
    )
