"""Tests of `router plugins`: what there is, what it handles, and what is wrong with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SOUND = """
from router import hookimpl
@hookimpl
def on_message(event): ...
@hookimpl
def on_error(event): ...
"""
MISSPELT = """
from router import hookimpl
@hookimpl
def on_mesage(event): ...
"""

Write = Callable[..., list[str]]


@pytest.fixture
def write(run: Run, tmp_path: Path) -> Write:
    """Writes plugins, by their names, and settings; returns the option that finds the plugins."""

    def write(settings: str = "", **texts: str) -> list[str]:
        folder = tmp_path / "handlers"
        folder.mkdir()
        for name, text in texts.items():
            (folder / f"{name}.py").write_text(text)
        (tmp_path / "router.toml").write_text(settings)
        return ["--plugins-dir", "handlers"]

    return write


def test_plugins_are_listed_with_what_they_handle(run: Run, write: Write) -> None:
    """A sound plugin is told with its hooks and types; the router's own are there, too."""
    result = run("plugins", "list", "--json", *write(crm=SOUND))

    assert result.code == 0
    crm, *own = result.data
    assert (crm["name"], crm["state"], crm["enabled"], crm["reason"]) == ("crm", "ok", True, None)
    assert (crm["hooks"], crm["types"]) == (["on_error", "on_message"], ["message", "error"])
    assert crm["origin"].endswith("handlers/crm.py")
    for plugin, name in zip(own, ("echo", "forward", "timeline", "whatsapp"), strict=True):
        found = (plugin["name"], plugin["state"], plugin["enabled"])
        assert found == (name, "available", False)
        assert plugin["version"]


def test_a_broken_plugin_is_listed_with_the_reason(run: Run, write: Write) -> None:
    """The list works, exits 0, and says what is wrong."""
    options = write(crm=SOUND, bad="import no_such_module")

    broken = run("plugins", "list", "--json", *options).data[0]
    assert (broken["name"], broken["state"], broken["enabled"]) == ("bad", "broken", False)
    assert "ModuleNotFoundError: No module named 'no_such_module'" in broken["reason"]

    shown = run("plugins", "list", *options)
    assert shown.code == 0
    assert "no_such_module" in shown.out


def test_a_plugin_that_is_turned_off_is_listed(run: Run, write: Write) -> None:
    """What the settings turn off is not loaded, and not forgotten."""
    options = write("[plugins.crm]\nenabled = false", crm="raise RuntimeError")

    crm = run("plugins", "list", "--json", *options).data[0]

    assert (crm["name"], crm["state"], crm["hooks"]) == ("crm", "off", [])
    assert run("plugins", "check", *options).code == 0


def test_sound_plugins_pass(run: Run, write: Write) -> None:
    """The check exits 0 and has no problem to tell."""
    options = write("[subscriptions.crm]\nrate = 5", crm=SOUND)

    result = run("plugins", "check", *options)
    assert (result.code, result.out) == (0, "")
    assert run("plugins", "check", "--json", *options).data == []


def test_a_misspelt_hook_fails_with_a_guess(run: Run, write: Write) -> None:
    """The check exits 3 and says what was meant."""
    result = run("plugins", "check", *write(crm=MISSPELT))

    assert result.code == 3
    assert result.out.startswith("crm: on_mesage() ")
    assert "did you mean on_message" in result.out


def test_every_problem_is_told(run: Run, write: Write) -> None:
    """One broken plugin hides no other, nor settings of a plugin that is not there."""
    settings = "[subscriptions.crn]\nrate = 5\n[plugins.gone]\nurl = 'x'\n"
    options = write(settings, crm=SOUND, bad=MISSPELT, worse="1 +")

    result = run("plugins", "check", "--json", *options)

    assert result.code == 3
    assert [(one["name"], one["origin"].split("/")[-1]) for one in result.data] == [
        ("bad", "bad.py"),
        ("worse", "worse.py"),
        ("crn", "[subscriptions.crn]"),
        ("gone", "[plugins.gone]"),
    ]
    assert "did you mean crm?" in result.data[2]["problem"]


def test_settings_for_a_plugin_that_does_not_run_are_a_problem(run: Run, write: Write) -> None:
    """What comes with the router runs only when it is asked for."""
    result = run("plugins", "check", *write("[subscriptions.whatsapp]\nrate = 5"))

    assert result.code == 3
    assert "whatsapp: the plugin does not run" in result.out
    assert "add [plugins.whatsapp]" in result.out


def test_a_missing_folder_is_a_problem(run: Run) -> None:
    """A folder that is not there has no plugins that somebody counts on."""
    result = run("plugins", "check", "--plugins-dir", "nowhere")

    assert (result.code, "there is no such directory" in result.out) == (3, True)


def test_settings_may_come_from_the_environment(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable fills in what the file lacks; one about no plugin is a problem."""
    needy = SOUND + (
        "import msgspec\n"
        "class Settings(msgspec.Struct):\n    url: str\n"
        "@hookimpl\ndef settings():\n    return Settings\n"
    )
    options = write("[plugins.crm]\n", crm=needy)

    missing = run("plugins", "check", *options)
    assert missing.code == 3
    assert "router.toml: [plugins.crm].url is missing" in missing.out
    monkeypatch.setenv("ROUTER_PLUGINS__CRM__URL", "https://crm.internal")
    assert run("plugins", "check", *options).code == 0
    monkeypatch.setenv("ROUTER_PLUGINS__CRN__URL", "https://crm.internal")
    stray = run("plugins", "check", *options)
    assert stray.code == 3
    assert stray.out.startswith("ROUTER_PLUGINS__CRN__URL: it is about no plugin that is loaded")


def test_what_comes_with_the_router_may_be_asked_for_by_a_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as the table would."""
    monkeypatch.setenv("ROUTER_PLUGINS__TIMELINE__ENABLED", "true")

    states = {one["name"]: one["state"] for one in run("plugins", "list", "--json").data}
    others = dict.fromkeys(["echo", "forward", "whatsapp"], "available")
    assert states == {"timeline": "ok", **others}
