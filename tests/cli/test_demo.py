"""`router demo`: the first thing that anybody sees, from the first line to the last."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from router.cli import live
from router.cli.demo import make_scene
from router.cli.simulation import Ending
from router.errors import RouterError
from tests.cli.conftest import Run, Start

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

TITLES = [
    "A router at work",
    "1  A customer writes",
    "2  The answer is on its way",
    "3  Something fails",
    "4  A batch",
    "5  The same batch again",
    "6  A damaged element",
    "7  A forgery, and half a body",
    "A new plugin, and all that was before it",
    "What the log holds, and what it does not",
    "What next",
]

# Somebody presses Ctrl-C when the third request is sent.
INTERRUPTED = """
import os, signal, sys
from router.cli import main
from router.demo.telling import Telling

send, sent = Telling._send, []

def send_or_stop(self, post):
    sent.append(post)
    if len(sent) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return send(self, post)

Telling._send = send_or_stop
sys.argv[1:] = ["demo"]
main()
"""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder in which the demo makes its own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def demo(start: Start, temporary: Path) -> Callable[..., object]:
    """Starts the demo in a process of its own."""

    @contextmanager
    def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
        with start("demo", *arguments, TMPDIR=str(temporary)) as process:
            yield process

    return demo


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what the process prints, up to the line that holds ``text``."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    pytest.fail(f"{text!r} never came: {read}")


def test_the_demo_tells_its_story(demo: Start, temporary: Path, database: str) -> None:
    """It plays all steps, shows who handled what, ends with sums that agree, and leaves nothing."""
    before = Path(database.removeprefix("sqlite:///")).read_bytes()
    with demo() as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert re.findall(r"^━━ (.+?) ━+$", out, re.MULTILINE) == TITLES
    assert "\x1b" not in out
    lines = [line for line in out.splitlines() if str(temporary) not in line]
    assert max(len(line) for line in lines) <= 92
    assert list(temporary.iterdir()) == []
    assert Path(database.removeprefix("sqlite:///")).read_bytes() == before


def test_the_demo_shows_who_handled_what(demo: Start) -> None:
    """Each event stands with its position, type, subtype and subject above its handler."""
    with demo() as process:
        out, _ = process.communicate(timeout=60)

    handled = re.findall(r"^ +(\d+)  (\w+) +(\w+) +(\S+)\n +→ (\w+): .+$", out, re.MULTILINE)
    assert [int(position) for position, *_ in handled] == list(range(1, 14))
    assert handled[0] == ("1", "message", "text", "+12025550100:12025550123", "crm")
    assert handled[11] == ("12", "other", "malformed", "204060801030507:", "alarms")
    assert {(type_, plugin) for _, type_, _, _, plugin in handled} == {
        ("message", "crm"),
        ("sent", "receipts"),
        ("delivered", "receipts"),
        ("read", "receipts"),
        ("error", "alarms"),
        ("other", "alarms"),
    }
    assert re.findall(r"→ (\d{3}) ", out) == ["200"] * 8 + ["401", "400"]
    assert "Nothing new: the log has all 5 events." in out
    assert re.search(r"^  replay 1  positions 1 to 13  → done, 13 of 13$", out, re.MULTILINE)
    assert re.search(r"^  notifications +7 ", out, re.MULTILINE)
    assert re.search(r"^  events +13  5 message, 1 sent, 2 delivered, ", out, re.MULTILINE)
    assert re.search(r"^  came again +5 ", out, re.MULTILINE)
    assert re.search(r"^  refused +2  answered 401 and 400", out, re.MULTILINE)
    assert re.search(r"^  history +13 of 13 +0 +0 +0  13 of 13 done$", out, re.MULTILINE)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_kept_demo_goes_on(
    demo: Start, run: Run, temporary: Path, ending: signal.Signals
) -> None:
    """It prints where it serves and what to try, which works, until it is told to end."""
    with demo("--keep") as process:
        out = read_until(process, "Ctrl-C ends it.")
        address = re.findall(r"http://127\.0\.0\.1:\d+(?=/livez)", out)[0]
        with httpx2.Client(base_url=address, trust_env=False) as http:
            assert [http.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]
        (folder,) = temporary.iterdir()
        words = [line for line in out.splitlines() if " send " in line][-1].split()
        sent = run(*words[words.index("send") :])
        process.send_signal(ending)
        rest, err = process.communicate(timeout=30)

    assert f"{address}/webhooks/counter" in out
    assert (sent.code, sent.out) == (0, "200 OK\n")
    assert process.returncode == 0
    assert "Aborted" not in rest + err
    assert str(folder) in err
    assert (folder / "router.db").exists()
    listed = run("events", "list", "--json", "--config", str(folder / "router.toml"))
    assert listed.code == 0


def test_a_demo_that_is_interrupted_leaves_nothing(
    environ: dict[str, str], temporary: Path
) -> None:
    """Ctrl-C in the middle ends it with 130, its service and its folder with it."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        env=environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 130
    assert "POST /webhooks" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert list(temporary.iterdir()) == []


def test_a_reader_may_leave_early(demo: Start, temporary: Path) -> None:
    """Where the output is cut off, as by `head`, it ends quietly and cleans up."""
    with demo() as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""

    assert list(temporary.iterdir()) == []


def test_a_folder_of_ones_own(demo: Start, tmp_path: Path, temporary: Path) -> None:
    """A folder that was asked for is made and stays, as a complete project."""
    with demo("--dir", str(tmp_path / "mine")) as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert str(tmp_path / "mine") in out
    assert {path.name for path in (tmp_path / "mine").iterdir()} >= {
        "handlers",
        "router.db",
        "router.toml",
        "secrets",
    }
    assert list(temporary.iterdir()) == []


def test_a_folder_that_is_taken_is_refused(run: Run, tmp_path: Path) -> None:
    """It plays in no folder that holds something, and says so."""
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    result = run("demo", "--dir", str(taken))

    assert (result.code, result.out) == (1, "")
    assert f"{taken} is not empty" in result.err
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_an_error(run: Run, tmp_path: Path) -> None:
    """What the disk refuses is told in one line."""
    (tmp_path / "file").write_text("")
    result = run("demo", "--dir", str(tmp_path / "file" / "beneath"))

    assert result.code == 1
    assert re.fullmatch(r"Error: the demo cannot go on: .*file.*\n", result.err)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"TERM": "xterm"}, b"  \x1b[1mdone\x1b[0m\r\n"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, b"  done\r\n"),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, b"  done\r\n"),
    ],
)
def test_a_terminal_decides_on_colours(
    changes: dict[str, str], expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets escape codes, unless its owner wants none."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    leader, follower = os.openpty()
    try:
        with os.fdopen(follower, "w") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            make_scene().line(("done", "bold"))
            stdout.flush()
            assert os.read(leader, 100) == expected
    finally:
        os.close(leader)


def test_traffic_flows_and_is_summed_up(demo: Start, temporary: Path) -> None:
    """With --live, figures come each second, everything is acknowledged, and nothing is left."""
    with demo("--live", "--rate", "40", "--for", "1.5s") as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    *lines, last = re.findall(r"^(\d+) sent, (\d+) acknowledged, (\d+) events, lag \d+$", out, re.M)
    assert lines
    assert last[:2] == ("60", "60")
    assert re.search(r"^notifications: +60, ", out, re.MULTILINE)
    assert re.search(rf"^events: +{last[2]}$", out, re.MULTILINE)
    assert list(temporary.iterdir()) == []


def test_ctrl_c_sums_live_traffic_up(demo: Start, temporary: Path) -> None:
    """Without an end of its own it flows until Ctrl-C, and then still tells the sums."""
    with demo("--live") as process:
        read_until(process, "sent, ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert "acknowledged: " in out
    assert re.search(r"^waiting: +0$", out, re.MULTILINE)
    assert list(temporary.iterdir()) == []


def test_plugins_that_do_not_keep_up_are_told_after_the_sums(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traffic's figures are worth something on a slow machine, too."""

    async def give_up(_: object) -> None:
        raise RouterError("the plugins did not come to the end of the log")

    monkeypatch.setattr(live, "_catch_up", give_up)
    result = run("demo", "--live", "--for", "0.1s")

    assert result.code == 1
    assert "did not come to the end" in result.err
    assert re.search(r"^notifications: +5, ", result.out, re.MULTILINE)


def test_a_second_signal_ends_the_waiting() -> None:
    """What waits for answers, or for plugins, is left by the next signal, and not begun after."""

    async def work() -> None:
        ending = Ending()
        begun: list[int] = []

        async def wait() -> None:
            begun.append(len(begun))
            await asyncio.Event().wait()

        ending.wish()
        asyncio.get_running_loop().call_later(0.01, ending.wish)
        await ending.wait(wait())
        await ending.wait(wait())
        assert begun == [0]

    asyncio.run(work())


@pytest.mark.parametrize(
    "words", [["--live", "--keep"], ["--for", "1s"], ["--live", "--rate", "inf"]]
)
def test_options_of_one_demo_mean_nothing_to_the_other(run: Run, words: list[str]) -> None:
    """What would have no effect is refused."""
    assert run("demo", *words).code == 2
