"""Tests of `router db backup`: what it says, that it works under load, and what a restore does."""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from router.log import EventLog
from router.status import Status
from router.store import Store
from tests.cli.conftest import Result, Run, command
from tests.entries import append_messages
from tests.faults.server import CONFIG, connect, load, serve
from tests.faults.server import Server as Served
from tests.loops import in_loop
from tests.samples import as_body, text_message
from tests.waiting import until

pytestmark = pytest.mark.engines("sqlite")

PLUGIN = """
from router import hookimpl

@hookimpl
def on_message(event):
    with open("seen.txt", "a") as seen:
        seen.write(f"{event.id} {event.external_id}\\n")
"""


def make_body(number: int) -> bytes:
    """A notification with one text."""
    return as_body({"messages": [text_message(number)]})


@pytest.fixture
def site(environ: dict[str, str], tmp_path: Path) -> Path:
    """A folder in which a router can be served, with a plugin that writes down what it sees."""
    (tmp_path / "router.toml").write_text(CONFIG)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "crm.py").write_text(PLUGIN)
    return tmp_path


def see(site: Path) -> list[str]:
    """What the plugin has seen: of each call the event's id and the message's."""
    file = site / "seen.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_what_was_made_is_told(log: EventLog, run: Run) -> None:
    """Its size and the last position, as text and as JSON; nothing on stderr without a terminal."""
    append_messages(log, ["ana", "ben"])

    told = run("db", "backup", "--to", "a.db")
    as_json = run("db", "backup", "--to", "b.db", "--json")

    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("a.db: ")
    assert told.out.endswith(", a sound log up to position 2\n")
    size = Path("b.db").stat().st_size
    assert as_json.data == {"file": "b.db", "bytes": size, "head": 2}
    assert len(run("events", "list", "--database", "sqlite:///a.db", "--json").data) == 2


def test_what_was_not_made_is_a_failure(log: EventLog, run: Run) -> None:
    """A file that is there, and a database that is not."""
    Path("a.db").touch()

    taken = run("db", "backup", "--to", "a.db")
    nowhere = run("db", "backup", "--to", "b.db", "--database", "sqlite:///gone.db")

    assert (taken.code, "is there already" in taken.err) == (1, True)
    assert (nowhere.code, "there is no database gone.db" in nowhere.err) == (1, True)
    assert not Path("b.db").exists()
    assert not Path("gone.db").exists()


def test_a_stop_leaves_nothing(
    log: EventLog, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM, by which units are stopped, ends it as Ctrl-C does; its handler is as before."""
    append_messages(log, ["ana"])
    (tmp_path / "backups").mkdir()
    seen: list[list[str]] = []

    def stop(_done: int, _all: int) -> None:
        seen.append(os.listdir("backups"))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("router.cli.backup._tell", stop)
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        result = run("db", "backup", "--to", "backups/a.db")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, former)

    assert (result.code, result.out, result.err.strip()) == (130, "", "Aborted.")
    assert any(name.endswith(".partial") for name in seen[0])
    assert os.listdir("backups") == []


def test_a_terminal_is_shown_the_progress(
    log: EventLog, on_terminal: Callable[..., Result]
) -> None:
    """Of how many pages how many are copied."""
    shown = on_terminal("db", "backup", "--to", "a.db")

    assert shown.code == 0
    assert "pages\n" in shown.out


@in_loop
async def test_it_is_made_while_notifications_come_in(site: Path, environ: dict[str, str]) -> None:
    """Under load it holds all that was answered before, nobody is refused, and all goes on."""
    acknowledged: list[bytes] = []
    ends = asyncio.Event()
    before: list[int] = []

    async def back_up() -> None:
        await until(lambda: len(acknowledged) >= 200)
        for number in range(3):
            before.append(len(acknowledged))
            words = command(["db", "backup", "--to", f"{number}.db"])
            done = await asyncio.to_thread(
                subprocess.run, words, cwd=site, env=environ, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr
        ends.set()

    with serve(site, "--no-worker") as server:
        bodies = itertools.takewhile(
            lambda _: not ends.is_set(), map(make_body, itertools.count(1))
        )
        loading = load(server, bodies, senders=8, answered=acknowledged.append)
        lost, _ = await asyncio.gather(loading, back_up())
        server.stop()

    assert lost == []
    assert count(site / "router.db") == len(acknowledged)
    for number, least in enumerate(before):
        assert least <= count(site / f"{number}.db") <= len(acknowledged)


def count(file: Path) -> int:
    """How many events the log in a file has, each at its place."""
    log = EventLog(f"sqlite:///{file}")
    positions = [event.position for event in log.read()]
    log.store.close()
    assert positions == list(range(1, len(positions) + 1))
    return len(positions)


async def post(server: Served, *numbers: int) -> None:
    """Post notifications, each of which is taken."""
    async with connect(server) as client:
        for number in numbers:
            assert await client.post(make_body(number)) == 200


def lag(site: Path) -> int:
    """How many events the plugin has yet to settle, on record."""
    store = Store(f"sqlite:///{site / 'router.db'}")
    try:
        return Status(store).subscription("crm").lag
    finally:
        store.close()


@in_loop
async def test_a_restored_log_goes_on(site: Path, run: Run) -> None:
    """Deliveries go on from the backup: what was handled after it is handled again.

    With the ids that it had. What came in after the backup is gone, and taken as new if its
    provider sends it again; what was in it is known.
    """
    with serve(site, "--plugins-dir", "handlers") as server:
        await post(server, 1, 2)
        await until(lambda: len(see(site)) == 2 and lag(site) == 0)
        assert run("subscriptions", "pause", "crm", "--wait").code == 0
        await post(server, 3)
        assert run("db", "backup", "--to", "backup.db").code == 0
        assert run("subscriptions", "resume", "crm").code == 0
        await post(server, 4)
        await until(lambda: len(see(site)) == 4)
        server.stop()
    first = see(site)

    for name in ("router.db", "router.db-wal", "router.db-shm"):
        (site / name).unlink(missing_ok=True)
    shutil.copy(site / "backup.db", site / "router.db")
    unsound = {one["check"] for one in run("doctor", "--deep", "--json").data if not one["ok"]}
    assert unsound <= {"states", "workers"}  # it is paused, and nobody runs it yet
    assert run("db", "check").code == 0
    assert run("subscriptions", "resume", "crm").code == 0

    with serve(site, "--plugins-dir", "handlers") as server:
        await until(lambda: len(see(site)) == 5)
        await post(server, 3, 4)
        await until(lambda: len(see(site)) == 6 and lag(site) == 0)
        server.stop()
    again, anew = see(site)[4:]

    assert again == first[2]
    assert anew.split()[1] == first[3].split()[1] == "wamid.IN4"
    assert anew.split()[0] != first[3].split()[0]
    assert count(site / "router.db") == 4
