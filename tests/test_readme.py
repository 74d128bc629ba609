"""README.md keeps its word: its files work as they stand there, and its commands exist."""

import asyncio
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from router import Router, config
from router.assembly import make_sources
from router.cli import router as command
from router.host import Host
from router.plugins.whatsapp import WhatsApp
from router.status import Status
from router.store import Store
from tests.loops import in_loop
from tests.posting import ask
from tests.samples import as_body, failure
from tests.waiting import until

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)
FILES = ("handlers/crm.py", "router.toml", "notification.json", "app.py")
HELLO = "42:12025550123 sent a text: {"


def find_blocks(kind: str) -> list[str]:
    """The blocks of code of one kind, in their order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def find_file(name: str) -> str:
    """The first block of code after the name of a file."""
    found = re.search(rf"`{re.escape(name)}`.*?^```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"{name} is not shown any more"
    return found[1]


CALLS = [
    shlex.split(line.removeprefix("$ "), comments=True)
    for block in find_blocks("console")
    for line in block.splitlines()
    if line.startswith("$ ")
]
COMMANDS = [
    words[words.index("router") + 1 :]
    for words in [*CALLS, *(shlex.split(span) for span in SPANS if span.startswith("router "))]
    if words[0] == "router" or words[:3] == ["uv", "run", "router"]
]


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The reader's environment, in the folder with all the files, crm.py beside app.py too."""
    (tmp_path / "handlers").mkdir()
    for name in FILES:
        (tmp_path / name).write_text(find_file(name))
    (tmp_path / "crm.py").write_text(find_file("handlers/crm.py"))
    for name in [name for name in os.environ if name.startswith("ROUTER_")]:
        monkeypatch.delenv(name)
    for words in CALLS:
        if words[0] == "export":
            for pair in words[1:]:
                monkeypatch.setenv(*pair.split("=", 1))
    monkeypatch.chdir(tmp_path)
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(*words: str, environ: Mapping[str, str]) -> str:
    """Call the command, which must succeed, and return what it prints."""
    arguments = [sys.executable, "-m", "router.cli", *words]
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@contextmanager
def serving(*words: str, environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Call the command that serves, on a free port; give its address and what it prints."""
    arguments = [sys.executable, "-m", "router.cli", *words]
    with subprocess.Popen(
        arguments,
        env={**environ, "ROUTER_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        limit = threading.Timer(60, process.kill)  # lest a line that never comes be waited for
        limit.start()
        try:
            for line in process.stderr:
                if found := re.search(r"receiving at (\S+)/webhooks/wa", line):
                    yield found[1], process.stdout
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            limit.cancel()


def test_every_block_is_tried() -> None:
    """A block of code that is added to the README is added to these tests."""
    log = find_blocks("python")[-1]

    assert find_blocks("python") == [find_file("handlers/crm.py"), find_file("app.py"), log]
    assert find_blocks("toml") == [find_file("router.toml")]
    assert find_blocks("json") == [find_file("notification.json")]


def test_the_service_does_what_is_said(environ: Mapping[str, str]) -> None:
    """Typed in as they stand, the commands make a service that calls the plugin, twice."""
    Path("failure.json").write_bytes(as_body({"statuses": [failure()]}))
    upgrade, serve, *others = [words[1:] for words in CALLS if words[0] == "router"]
    assert (upgrade, serve, others[0][0]) == (["db", "upgrade"], ["serve"], "send")
    run(*upgrade, environ=environ)

    with serving(*serve, environ=environ) as (address, lines):
        there = {**environ, "ROUTER_URL": address}
        printed = {}
        for words in others:
            printed[" ".join(words[:2])] = run(*words, environ=there)
            if words[0] == "send":
                assert HELLO in lines.readline()
        assert HELLO in lines.readline()  # from the replay
        assert "42:12025550123" in printed["events list"]
        assert "crm" in printed["subscriptions list"]

        run("send", "failure.json", "--source", "wa", environ=there)
        store = Store("sqlite:///router.db")
        status = Status(store)
        asyncio.run(until(lambda: status.subscription("crm").retrying == 1))
        assert status.subscription("crm").last_error == "the alarm service is closed"
        store.close()


@in_loop
async def test_the_application_does_what_is_said(
    environ: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`app.py` serves what it is sent, and the log is read as it is shown."""
    run("db", "upgrade", environ=environ)
    monkeypatch.syspath_prepend(Path.cwd())
    made = runpy.run_path("app.py")
    del sys.modules["crm"]  # which no other test is to find

    router, source = made["router"], WhatsApp("wa", app_secrets=[environ["WA_SECRET"]])
    assert isinstance(router, Router)
    body = Path("notification.json").read_bytes()
    async with router:
        headers = list(source.sign(body).headers.items())
        answer = await ask(made["app"], "/webhooks/wa", body=body, headers=headers)
        assert answer.status == 200
        await until(lambda: HELLO in capsys.readouterr().out)

    exec(find_blocks("python")[-1], {})  # noqa: S102 - running what is shown is the task
    assert capsys.readouterr().out.startswith("1 message 42:12025550123 {")


def test_the_settings_make_sources(environ: Mapping[str, str]) -> None:
    """What is said of the On-Premises API stands in a source, beside the one of the file."""
    more = "\n".join(span for span in SPANS if re.match(r"[a-z_]+ = ", span))
    assert "verification" in more
    Path("coreapp.secret").write_text("secret")
    Path("router.toml").write_text(
        find_file("router.toml") + f'[sources.coreapp]\nadapter = "whatsapp"\n{more}\n'
    )

    found = config.load(None, environ=environ, working=Path.cwd(), overrides={})
    host = Host.load(directories=found.plugins_dir, configured=found.plugins)

    assert [source.name for source in make_sources(found, host)] == ["wa", "coreapp"]
    assert [plugin.name for plugin in host.subscribers()] == ["crm"]
    host.require_sound()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_exist(words: list[str], environ: Mapping[str, str]) -> None:
    """Each command that is named takes the arguments and options that are shown."""
    Path("FILE").touch()
    found: click.Command = command
    name, rest = "router", words
    while isinstance(found, click.Group):
        name, *rest = rest
        assert name in found.commands
        found = found.commands[name]
    with found.make_context(name, list(rest)):
        pass


def test_what_is_pointed_to_exists() -> None:
    """Each link leads to a file, and so does each path of a test."""
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    paths = [span for span in SPANS if re.fullmatch(r"(tests|docs|router|plugins)/\S+", span)]

    assert links
    assert paths
    assert [path for path in [*links, *paths] if not (ROOT / path).exists()] == []
