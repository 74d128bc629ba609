"""Tests of `--reload`: a command is started anew upon a change, and nothing is lost by it."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.cli.places import Places
from router.cli.reload import Keeper
from router.fates import find_fates
from router.log import EventLog
from router.store import Store
from tests.cli.conftest import LIMIT, Run, Start
from tests.entries import append_messages
from tests.records import read_parked
from tests.waiting import until

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
plugins_dir = ["handlers"]
[sources.wa]
adapter = "whatsapp"
app_secrets = ["s3cret"]
"""
HELLO = """
import time
from pathlib import Path
from router import hookimpl

@hookimpl
def on_event(event):
    with open("calls", "a") as calls:
        print("{word}", event.position, file=calls)
    while "slow" in "{word}" and not Path("go").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def handlers(run: Run, tmp_path: Path) -> Path:
    """The folder of plugins, which the settings name."""
    (tmp_path / "router.toml").write_text(SETTINGS)
    folder = tmp_path / "handlers"
    folder.mkdir()
    return folder


def write(handlers: Path, word: str) -> None:
    """Write the plugin, which writes down a word and what it is called with."""
    (handlers / "hello.py").write_text(HELLO.format(word=word))


def read_calls(handlers: Path) -> list[str]:
    """Return what the plugin has written down."""
    return (handlers.parent / "calls").read_text().splitlines()


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a process tells a person."""
    assert process.stderr is not None
    return iter(process.stderr.readline, "")


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read on until these words are told, and return the line."""
    seen = []
    for line in lines_of(process):
        seen.append(line)
        if words in line:
            return line
    pytest.fail(f"it never said {words!r}: {''.join(seen)}")


def wait_for_calls(handlers: Path, number: int) -> None:
    """Wait until the plugin was called so often."""
    calls = handlers.parent / "calls"
    asyncio.run(
        until(lambda: calls.exists() and len(read_calls(handlers)) == number, seconds=LIMIT)
    )


def wait_until_done(store: Store, position: int) -> None:
    """Wait until the plugin has done with an event."""
    asyncio.run(
        until(lambda: [one.state for one in find_fates(store, position)] == ["done"], seconds=LIMIT)
    )


def test_one_file_is_enough(start: Start, run: Run, handlers: Path, store: Store) -> None:
    """`router serve --plugins-dir handlers` calls the one hook of the one file there."""
    (handlers.parent / "router.toml").write_text(SETTINGS.replace("plugins_dir", "# "))
    write(handlers, "hello")

    with start("serve", "--port", "0", "--plugins-dir", "handlers") as process:
        found = re.search(r"receiving at (\S+)/webhooks/wa", wait_for(process, "receiving at"))
        assert found
        sent = run("send", "-", "--source", "wa", "--url", found[1], stdin=b"{}")
        assert sent.code == 0
        wait_until_done(store, 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert read_calls(handlers) == ["hello 1"]


def test_a_change_of_a_plugin_is_in_force_at_once(
    start: Start, run: Run, handlers: Path, store: Store
) -> None:
    """It serves at the same port again, with the new code; Ctrl-C ends both processes."""
    write(handlers, "one")
    with start("serve", "--port", "0", "--reload") as process:
        first = wait_for(process, "receiving at").split("receiving at ")[1]
        write(handlers, "two")
        second = wait_for(process, "receiving at").split("receiving at ")[1]
        assert first == second
        url = first.partition("/webhooks")[0]
        assert run("send", "-", "--source", "wa", "--url", url, stdin=b"{}").code == 0
        wait_until_done(store, 1)
        process.send_signal(signal.SIGINT)
        rest = "".join(lines_of(process))  # to its end: nobody has it open any more
        assert process.wait() == 0
    assert "router.serve: stopped" in rest
    assert read_calls(handlers) == ["two 1"]


def test_a_call_under_way_is_not_cut(start: Start, handlers: Path, store: Store) -> None:
    """Whoever is called returns before the new code is loaded, and is not called again."""
    write(handlers, "slow")
    with start("worker", "--reload") as process:
        wait_for(process, "delivering")
        append_messages(EventLog(store), ["ana"])
        wait_for_calls(handlers, 1)
        write(handlers, "new")
        wait_for(process, "there is a change")
        (handlers.parent / "go").touch()
        wait_for(process, "delivering")
        append_messages(EventLog(store), ["ana"])
        wait_until_done(store, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert read_calls(handlers) == ["slow 1", "new 2"]
    assert read_parked(store, "hello") == {}


def test_broken_code_is_told_and_waited_for(start: Start, handlers: Path, store: Store) -> None:
    """The watch goes on; when the code is mended, the events that came meanwhile are handled."""
    write(handlers, "one")
    with start("worker", "--reload") as process:
        wait_for(process, "delivering")
        (handlers / "hello.py").write_text("def on_event(:\n")
        told = wait_for(process, "SyntaxError")
        assert "hello.py:1" in told
        wait_for(process, "waiting for a change of")
        append_messages(EventLog(store), ["ana"])
        write(handlers, "mended")
        wait_for(process, "delivering")
        wait_until_done(store, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert read_calls(handlers) == ["mended 1"]


def test_it_may_begin_with_broken_code(start: Start, handlers: Path) -> None:
    """While nothing runs, Ctrl-C ends it."""
    (handlers / "hello.py").write_text("1 +")
    with start("worker", "--reload") as process:
        wait_for(process, "waiting for a change of")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_a_change_of_the_settings_is_in_force_at_once(
    start: Start, handlers: Path, tmp_path: Path
) -> None:
    """A folder that they name from now on is watched, too, even before it is there."""
    write(handlers, "one")
    with start("worker", "--reload") as process:
        wait_for(process, "delivering")
        (tmp_path / "router.toml").write_text(SETTINGS.replace("handlers", "others"))
        wait_for(process, "there is no such directory")
        wait_for(process, "waiting for a change of")
        (tmp_path / "others").mkdir()
        wait_for(process, "delivering")
        (tmp_path / "others" / "hello.py").write_text("1 +")
        wait_for(process, "SyntaxError")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_folder_that_is_put_back_is_watched_again(
    start: Start, handlers: Path, store: Store
) -> None:
    """As another branch of a repository does it: it is another folder by the same name."""
    write(handlers, "one")
    with start("worker", "--reload") as process:
        wait_for(process, "delivering")
        shutil.rmtree(handlers)
        wait_for(process, "there is no such directory")
        handlers.mkdir()
        write(handlers, "two")
        wait_for(process, "delivering")
        (handlers / "hello.py").write_text("1 +")
        wait_for(process, "SyntaxError")
        write(handlers, "three")
        wait_for(process, "delivering")
        append_messages(EventLog(store), ["ana"])
        wait_until_done(store, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert read_calls(handlers) == ["three 1"]


def test_a_second_signal_stops_at_once(start: Start, handlers: Path, store: Store) -> None:
    """As without: a call that never returns keeps nobody."""
    write(handlers, "slow")
    with start("worker", "--reload") as process:
        wait_for(process, "delivering")
        append_messages(EventLog(store), ["ana"])
        wait_for_calls(handlers, 1)
        process.send_signal(signal.SIGINT)
        wait_for(process, "stopping")
        process.send_signal(signal.SIGINT)
        wait_for(process, "stopped at once")
        assert process.wait() == 1


def test_without_the_extra_it_says_what_to_install(
    run: Run, handlers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where watchfiles is missing, the message names the extra."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    for command in ("serve", "worker"):
        result = run(command, "--reload")
        assert (result.code, 'its extra "reload"' in result.err) == (1, True)


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (1, 1), (-15, 0), (-9, 1)])
def test_the_exit_code_is_that_of_the_process(tmp_path: Path, code: int, exit_code: int) -> None:
    """One that was told to stop before it could listen has stopped as it was told."""
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"sys.exit({code})"
    program = f"import os, signal, sys; signal.signal(15, lambda *_: {end}); "
    if code == -signal.SIGTERM:
        program = ""
    program += "open('begun', 'w').close(); signal.pause()"
    words = [sys.executable, "-c", f"import os, signal; os.chdir({str(tmp_path)!r}); {program}"]

    async def run() -> int:
        keeper = Keeper(words, find=lambda: Places(frozenset({tmp_path}), frozenset()))
        running = asyncio.create_task(keeper.run())
        await until((tmp_path / "begun").exists, seconds=LIMIT)
        os.kill(os.getpid(), signal.SIGTERM)
        return await running

    assert asyncio.run(run()) == exit_code
