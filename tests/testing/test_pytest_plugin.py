"""Tests of the plugin of pytest: it costs those nothing who do not use it, and runs coroutines."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("sqlalchemy", "starlette", "msgspec", "alembic", "httpx2", "click", "router.app")

CRM = """
from router import hookimpl

class Crm:
    def __init__(self):
        self.seen = []

    @hookimpl
    def on_message(self, event):
        self.seen.append(event.payload["id"])

BODY = {"messages": [{"id": "a", "from": "1", "type": "text", "text": {"body": "Hello"}}]}
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of Python's to its end."""
    return subprocess.run(
        [sys.executable, "-P", *command], cwd=folder, capture_output=True, text=True, check=False
    )


def run_tests(folder: Path, text: str, *options: str) -> str:
    """Run tests by pytest, as somebody's who has the router installed; return what it says."""
    (folder / "test_it.py").write_text(CRM + text)
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *options, folder=folder)
    return ended.stdout + ended.stderr


def test_the_entry_point_imports_nothing_of_the_engine(tmp_path: Path) -> None:
    """Pytest finds it by itself; until a fixture is asked for, nothing heavy is imported."""
    text = "import sys\n\ndef test_it(request):\n    plugin = request.config.pluginmanager\n"
    text += "    assert plugin.has_plugin('router')\n"
    text += f"    assert sys.modules.keys() & set({HEAVY!r}) == set()\n"
    (tmp_path / "test_it.py").write_text(text)
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert "1 passed" in ended.stdout, ended.stdout


def test_public_names_are_fetched_when_they_are_asked_for(tmp_path: Path) -> None:
    """The package gives its public names, tells them, and has no others."""
    text = "import router\nassert set(router.__all__) <= set(dir(router))\n"
    text += "print(all(getattr(router, name).__name__ for name in router.__all__))\n"
    text += "from router import hokimpl\n"
    ended = run("-c", text, folder=tmp_path)
    assert ended.stdout == "True\n"
    assert "cannot import name 'hokimpl' from 'router'" in ended.stderr


def test_coroutines_are_run_without_another_plugin(tmp_path: Path) -> None:
    """An ``async def`` test that asks for a harness is run; what it asserts counts."""
    said = run_tests(
        tmp_path,
        """
async def test_right(harness):
    crm = Crm()
    harness.use(crm)
    await harness.receive(BODY)
    await harness.drain()
    assert crm.seen == ["a"]

async def test_wrong(make_harness, tmp_path):
    crm = Crm()
    harness = make_harness()
    harness.use(crm)
    await harness.receive(BODY)
    await harness.drain()
    assert crm.seen == ["b"]

def test_plain(harness):
    harness.use(Crm())
    harness.run(harness.receive(BODY))
    harness.run(harness.drain())
    assert harness.deliveries().outcomes == ["done"]
""",
        "-W",
        "error",
    )
    assert "1 failed, 2 passed" in said, said
    assert "assert ['a'] == ['b']" in said


def test_coroutines_that_anyio_runs_are_left_to_it(tmp_path: Path) -> None:
    """A test with another plugin's mark is run by that plugin, once."""
    said = run_tests(
        tmp_path,
        """
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def notes():
    return []

async def test_it(harness, notes):
    notes.append(harness.use(Crm()))
    await harness.receive(BODY)
    await harness.drain()
    assert harness.deliveries().outcomes == ["done"]
    assert notes == ["crm"]
""",
    )
    assert "1 passed" in said, said
