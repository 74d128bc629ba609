"""What people get wrong with plugins: each is told, or stays with the plugin that it is in."""

import asyncio
import signal
from pathlib import Path

import pytest

from router.fates import find_fates
from router.log import EventLog
from router.store import Store
from tests.cli.conftest import LIMIT, Run, Start
from tests.entries import append, make_entry
from tests.waiting import until

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SOURCE = '[sources.wa]\nadapter = "whatsapp"\nverification = "none"\n'
SETTINGS = """
from dataclasses import dataclass
from router import hookimpl

@dataclass
class Settings:
    url: str

@hookimpl
def settings():
    return Settings
"""
ENDING = """
import sys
from router import hookimpl

@hookimpl
def on_message(event):
    sys.exit("no")

@hookimpl
async def on_sent(event):
    raise KeyboardInterrupt

@hookimpl
async def on_read(event):
    raise SystemExit(0)
"""
SOUND = """
from router import hookimpl

@hookimpl
def on_event(event): ...
"""
MISUSES = {
    "a setting is missing": (SETTINGS, "", "router.toml: [plugins.crm].url is missing"),
    "a setting is unknown": (
        SETTINGS,
        '[plugins.crm]\nurl = "x"\nurll = "y"\n',
        "router.toml: [plugins.crm].urll is unknown: did you mean url?",
    ),
    "a setting is of another type": (
        SETTINGS,
        "[plugins.crm]\nurl = 5\n",
        "router.toml: [plugins.crm].url must be str: Expected `str`, got `int`",
    ),
    "a hook is misspelt": (
        "from router import hookimpl\n@hookimpl\ndef on_mesage(event): ...\n",
        "",
        "did you mean on_message?",
    ),
    "the decorator is forgotten": (
        "def on_message(event): ...\n",
        "",
        "on_message() has the name of a hook: put @hookimpl above it",
    ),
    "both are": (
        "def on_mesage(event): ...\n",
        "",
        "did you mean on_message, with @hookimpl above it?",
    ),
    "an import fails": (
        "import no_such_module\n",
        "",
        "ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "the syntax is wrong": ("def on_message(:\n", "", "SyntaxError: "),
    "it ends the process": ("import sys\nsys.exit(0)\n", "", "SystemExit: 0"),
    "it ends the process when it is asked": (
        "import sys\nfrom router import hookimpl\n@hookimpl\ndef tables():\n    sys.exit(0)\n",
        "",
        "tables() failed: SystemExit: 0",
    ),
}


@pytest.fixture
def handlers(run: Run, tmp_path: Path) -> Path:
    """The folder of plugins, with one that is sound."""
    folder = tmp_path / "handlers"
    folder.mkdir()
    (folder / "sound.py").write_text(SOUND)
    (tmp_path / "router.toml").write_text(f'plugins_dir = ["handlers"]\n{SOURCE}')
    return folder


@pytest.mark.parametrize("misuse", MISUSES)
def test_nothing_starts_with_a_plugin_that_is_wrong(
    run: Run, handlers: Path, tmp_path: Path, misuse: str
) -> None:
    """`serve` and `worker` refuse before they do anything; to look at things still works."""
    code, settings, reason = MISUSES[misuse]
    (handlers / "crm.py").write_text(code)
    with (tmp_path / "router.toml").open("a") as file:
        file.write(settings)

    for words in (["serve", "--port", "0"], ["worker"]):
        refused = run(*words)
        assert (refused.code, refused.out) == (1, "")
        assert "plugin 'crm': " in refused.err
        assert reason in refused.err
        assert "receiving" not in refused.err
    checked = run("plugins", "check")
    assert (checked.code, reason in checked.out) == (3, True)
    listed = {one["name"]: one["state"] for one in run("plugins", "list", "--json").data}
    assert (listed["crm"], listed["sound"]) == ("broken", "ok")
    assert run("events", "list", "--json").data == []


def test_two_plugins_of_one_name_are_both_refused(run: Run, handlers: Path, tmp_path: Path) -> None:
    """Neither is taken for the other; both places are named."""
    others = tmp_path / "others"
    others.mkdir()
    (others / "sound.py").write_text(SOUND)

    refused = run("worker", "--plugins-dir", "handlers", "--plugins-dir", "others")

    assert refused.code == 1
    for folder in (handlers, others):
        assert str(folder / "sound.py") in refused.err
    assert "2 plugins have this name" in refused.err


def test_a_handler_that_would_end_the_process_fails_alone(
    start: Start, handlers: Path, store: Store
) -> None:
    """`sys.exit()` and KeyboardInterrupt are failures: parked, while all else goes on."""
    (handlers / "ending.py").write_text(ENDING)

    def states(position: int) -> list[str]:
        return [one.state for one in find_fates(store, position)]

    with start("worker") as process:
        for line in iter(process.stderr.readline, ""):
            if "delivering" in line:
                break
        append(
            EventLog(store),
            make_entry("ana", "message"),
            make_entry("ben", "sent"),
            make_entry("cem", "read"),
        )
        ended = [["parked", "done"]] * 3
        asyncio.run(until(lambda: [states(at) for at in (1, 2, 3)] == ended, seconds=LIMIT))
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    errors = [find_fates(store, position)[0].why for position in (1, 2, 3)]
    for error, kind in zip(
        errors, ("SystemExit: no", "KeyboardInterrupt", "SystemExit"), strict=True
    ):
        assert kind in error


def test_a_handler_that_blocks_the_loop_is_named(
    start: Start, handlers: Path, store: Store
) -> None:
    """The log of the process says which one, and where, while it blocks."""
    (handlers / "slow.py").write_text(
        "from pathlib import Path\nimport time\nfrom router import hookimpl\n"
        "@hookimpl\nasync def on_message(event):\n"
        "    while not Path('go').exists():\n        time.sleep(0.01)\n"
    )
    with start("worker") as process:
        told = iter(process.stderr.readline, "")
        assert any("delivering" in line for line in told)
        append(EventLog(store), make_entry())
        warning = next(line for line in told if "blocks the event loop" in line)
        (handlers.parent / "go").touch()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert "WARNING" in warning
    assert "plugin 'slow': on_message() blocks the event loop" in warning
    assert "handlers/slow.py:" in warning
