"""The plugin `echo`: it can be copied as it is, and shows what it gets without what is private."""

import logging
import shutil
from pathlib import Path

import pytest

from router import EventLog, Router
from router.host import Host
from router.plugins import echo
from tests.entries import append, make_entry
from tests.loops import in_loop
from tests.waiting import until

pytestmark = pytest.mark.engines("sqlite")


@in_loop
async def test_a_copy_of_it_runs(
    log: EventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file alone is a plugin; each event leaves a line that names nobody."""
    shutil.copy(echo.__file__, tmp_path / "mine.py")
    configured = {"mine": {"greeting": "hello", "level": "warning"}}
    host = Host.load(directories=[tmp_path], configured=configured, entry_points=())
    host.require_sound()
    append(log, make_entry("ana", text="secret"), make_entry("ben", "read", subtype="read"))
    caplog.set_level(logging.DEBUG, logger="router.echo")
    lines: list[str] = []

    def read() -> list[str]:
        lines[:] = [one.getMessage() for one in caplog.records if one.name == "router.echo"]
        return lines

    router = Router(
        log.store.engine,
        plugins=host,
        subscriptions={"mine": {"start": "beginning"}},
        receives=False,
    )
    async with router:
        await until(lambda: len(read()) == 3)
    first, *others, last = read()
    assert (first, last) == ("hello ready", "stopped")
    assert sorted(others) == [
        "hello a message (text) at 1, attempt 1",
        "hello read (read) at 2, attempt 1",
    ]


def test_a_slip_in_its_settings_is_told() -> None:
    """Settings that are not of its type keep it from being loaded."""
    configured = {"echo": {"greting": "hello"}}
    host = Host.load(plugins=[echo], configured=configured, entry_points=())
    (broken,) = host.broken
    assert "[plugins.echo].greting is unknown: did you mean greeting?" in broken.reason
