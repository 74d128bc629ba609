"""The play when something fails: it says what was awaited, and why it did not come."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from router.demo.play import play
from router.demo.project import write_project
from router.demo.scene import Scene
from router.demo.stage import DemoFailed
from router.errors import PluginError
from router.log import EventLog


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The settings of a project that has not been played yet."""
    return write_project(tmp_path / "project")


@pytest.fixture
def page() -> io.StringIO:
    """Where it is shown."""
    return io.StringIO()


@pytest.fixture
def scene(page: io.StringIO) -> Scene:
    """The scene, without colours and pauses."""
    return Scene(Console(file=page, width=92, color_system=None), pause=lambda _: None)


def change(settings: Path, name: str, code: str) -> None:
    """Give the plugin of that name other code."""
    (settings.parent / "handlers" / f"{name}.py").write_text(f"from router import hookimpl\n{code}")


def test_a_handler_that_fails_ends_the_play(settings: Path, scene: Scene) -> None:
    """A handler that raises is awaited for a while, then named with what it raised."""
    code = "@hookimpl\ndef on_message(event): raise OSError('the desk is closed')\n"
    change(settings, "crm", code)

    with pytest.raises(DemoFailed) as failed:
        play(settings, scene, patience=0.5)

    said = str(failed.value)
    assert "waited 0.5 s in vain for the plugin crm to handle event 1 (message)" in said
    assert "crm failed with OSError: the desk is closed" in said


def test_a_handler_that_does_nothing_is_found_out(
    settings: Path, scene: Scene, page: io.StringIO
) -> None:
    """That an event was settled is not taken for proof that a handler was called."""
    change(settings, "receipts", "@hookimpl\nasync def on_sent(event): pass\n")

    with pytest.raises(DemoFailed, match=re.escape("receipts to handle event 2 (sent)")):
        play(settings, scene, patience=0.3)
    assert "crm: Ana writes" in page.getvalue()


def test_types_without_a_handler_are_not_awaited(
    settings: Path, scene: Scene, page: io.StringIO
) -> None:
    """Without a plugin for them, receipts are kept and shown all the same."""
    (settings.parent / "handlers" / "receipts.py").unlink()
    play(settings, scene)

    assert "4  read " in page.getvalue()
    assert "receipts" not in page.getvalue()


def test_a_broken_plugin_ends_the_play_before_it_begins(settings: Path, scene: Scene) -> None:
    """What cannot be loaded is said as `router serve` says it."""
    change(settings, "crm", "@hookimpl\ndef on_messgae(event): pass\n")

    with pytest.raises(PluginError, match="did you mean on_message"):
        play(settings, scene)


def test_a_wrong_answer_ends_the_play(settings: Path, scene: Scene) -> None:
    """An answer other than the story's is an error that holds the router's own words."""
    settings.write_text(f"max_body = 3000\n{settings.read_text()}")

    with pytest.raises(DemoFailed, match=r"batch\.json was answered 413, .* 200: .*3000 bytes"):
        play(settings, scene)


def test_the_environment_is_left_out(
    settings: Path, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a database nor a proxy of the environment's is used."""
    monkeypatch.setenv("ROUTER_DATABASE", f"sqlite:///{tmp_path}/precious.db")
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    play(settings, scene)

    assert not (tmp_path / "precious.db").exists()
    log = EventLog(f"sqlite:///{settings.parent}/router.db")
    assert log.head() == 13
    log.store.close()
