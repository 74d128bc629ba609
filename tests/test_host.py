"""Tests of `router.host`: plugins come together, and one that is broken disturbs no other."""

import asyncio
import threading
import types
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from router.errors import PluginError
from router.events import EVENT_TYPES, Draft
from router.hookspecs import hookimpl
from router.host import Host, Plugin
from router.sources import Adapter, Source, version_of


class Audit:
    """A plugin that handles every event."""

    @hookimpl
    def on_event(self, event: object) -> None:
        """Do nothing with it."""


class AnyAdapter:
    """An adapter that knows no provider."""

    version = 1

    def make_source(
        self, name: str, settings: Mapping[str, object], *, folder: Path = Path()
    ) -> Source:
        """Make none."""
        raise NotImplementedError

    def split(self, body: bytes) -> list[Draft]:
        """Find nothing."""
        return []


def load(*plugins: object, **configured: Mapping[str, object]) -> Host:
    """Return a host with just these plugins."""
    return Host.load(plugins=plugins, entry_points=(), configured=configured)


def install(
    folder: Path, distribution: str, name: str, text: str, *, monkeypatch: pytest.MonkeyPatch
) -> list[metadata.EntryPoint]:
    """Install a module as a plugin of that name; return the entry points of ``folder``."""
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    module = f"{folder.name}_{name}"  # of this test alone: Python remembers what it imported
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[router]\n{name} = {module}\n")
    (folder / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return [
        one for found in metadata.distributions(path=[str(folder)]) for one in found.entry_points
    ]


HANDLER = "from router import hookspecs\n@hookspecs.hookimpl\ndef on_message(event): ...\n"
ADAPTER = """
from router import hookspecs

class Adapter:
    def make_source(self, name, settings): ...
    def split(self, body): ...

@hookspecs.hookimpl
def sources():
    return {"any": Adapter()}
"""


def test_a_plugin_from_code_is_ready_to_use() -> None:
    """A host knows a plugin's name, its hooks and what it handles."""
    audit = Audit()
    [plugin] = load(audit).plugins
    assert (plugin.name, plugin.origin) == ("audit", f"code {__name__}.Audit")
    assert (plugin.module, plugin.is_enabled) == (audit, True)
    assert (set(plugin.hooks), set(plugin.handlers)) == ({"on_event"}, set(EVENT_TYPES))


def test_a_file_is_a_plugin(tmp_path: Path) -> None:
    """A file with one marked function is a plugin with one handler."""
    (tmp_path / "hello.py").write_text(HANDLER)
    host = Host.load(directories=[tmp_path], entry_points=())
    assert [(one.name, list(one.handlers)) for one in host.subscribers()] == [
        ("hello", ["message"])
    ]


def test_a_misspelt_hook_in_a_file_makes_it_broken(tmp_path: Path) -> None:
    """`on_messgae` is told what it means and where it stands, and the other file still loads."""
    (tmp_path / "hello.py").write_text(HANDLER.replace("on_message", "on_messgae"))
    (tmp_path / "other.py").write_text(HANDLER)
    host = Host.load(directories=[tmp_path], entry_points=())
    assert [one.name for one in host.plugins] == ["other"]
    [broken] = host.broken
    assert broken.name == "hello"
    assert "did you mean on_message?" in broken.reason
    assert f"({tmp_path / 'hello.py'}:2)" in broken.reason


def test_a_broken_plugin_disturbs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution whose import raises is named with the cause; the next one works."""
    install(tmp_path, "acme-crm", "crm", "import nowhere\n", monkeypatch=monkeypatch)
    entries = install(tmp_path, "acme-mail", "mail", HANDLER, monkeypatch=monkeypatch)
    host = Host.load(entry_points=entries)
    assert [(one.name, one.distribution, one.version) for one in host.plugins] == [
        ("mail", "acme-mail", "1.2")
    ]
    [broken] = host.broken
    assert broken.origin == f"entry point crm = {tmp_path.name}_crm of acme-crm 1.2"
    assert "ModuleNotFoundError: No module named 'nowhere'" in broken.reason
    assert f"({tmp_path / tmp_path.name}_crm.py:1)" in broken.reason


def test_installed_plugins_are_looked_up() -> None:
    """Without being told otherwise, a host takes what is installed in this environment."""
    names = {entry.name for entry in metadata.entry_points(group="router")}
    host = Host.load()
    assert {*(one.name for one in host.plugins), *(one.name for one in host.broken)} == names
    assert "whatsapp" in names


def test_two_plugins_of_one_name_are_both_refused(tmp_path: Path) -> None:
    """Neither is taken by chance; both places are named."""
    (tmp_path / "audit.py").write_text(HANDLER)
    host = Host.load(directories=[tmp_path], plugins=[Audit()], entry_points=())
    assert host.plugins == []
    [broken] = host.broken
    assert broken.reason == (
        f"2 plugins have this name, file {tmp_path / 'audit.py'} and code {__name__}.Audit: "
        "rename all but one"
    )


def test_one_object_is_one_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same module under a second name is refused, so that no event is handled twice."""
    [first] = install(tmp_path, "acme-crm", "crm", HANDLER, monkeypatch=monkeypatch)
    second = metadata.EntryPoint("sales", first.value, first.group)
    host = Host.load(entry_points=[first, second])
    assert [one.name for one in host.plugins] == ["crm"]
    assert host.broken[0].reason.startswith("it is plugin 'crm' once more")


def test_an_installed_module_may_be_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is installed and given in code counts once, and runs."""
    entries = install(tmp_path, "notification-router", "echo", HANDLER, monkeypatch=monkeypatch)
    module = entries[0].load()
    module.plugin_name = "echo"
    host = Host.load(plugins=[module], entry_points=entries)
    assert [one.name for one in host.subscribers()] == ["echo"]
    assert host.broken == []


@pytest.mark.parametrize(
    ("configured", "runs", "is_disabled"),
    [({}, False, False), ({"echo": {}}, True, False), ({"echo": {"enabled": False}}, False, True)],
)
def test_what_comes_with_the_router_runs_when_it_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    configured: Mapping[str, Mapping[str, object]],
    *,
    runs: bool,
    is_disabled: bool,
) -> None:
    """A first-party plugin handles events only where `[plugins.NAME]` exists."""
    entries = install(tmp_path, "notification-router", "echo", HANDLER, monkeypatch=monkeypatch)
    host = Host.load(entry_points=entries, configured=configured)
    assert [one.name for one in host.plugins] == ["echo"]
    assert [one.name for one in host.subscribers()] == ["echo"] * runs
    assert host.disabled == ["echo"] * is_disabled


def test_adapters_of_the_router_are_always_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to ask for a first-party adapter, nor can turn it off."""
    entries = install(tmp_path, "notification-router", "any", ADAPTER, monkeypatch=monkeypatch)
    for configured in ({}, {"any": {"enabled": False}}):
        host = Host.load(entry_points=entries, configured=configured)
        assert list(host.adapters()) == ["any"]
        assert host.running() == []


def test_a_plugin_of_others_can_be_turned_off(tmp_path: Path) -> None:
    """`enabled = false` leaves a plugin out before any of its code runs."""
    (tmp_path / "hello.py").write_text("raise RuntimeError('it ran')\n")
    configured = {"hello": {"enabled": False}}
    host = Host.load(directories=[tmp_path], entry_points=(), configured=configured)
    assert (host.plugins, host.broken, host.disabled) == ([], [], ["hello"])


def test_a_plugin_whose_declarations_are_wrong_is_broken() -> None:
    """What a plugin says about itself is checked while it is loaded; others are not disturbed."""

    class Wrong:
        @hookimpl
        def subscription_options(self) -> dict[str, object]:
            return {"concurency": 3}

    host = load(Wrong(), Audit())
    assert [one.name for one in host.plugins] == ["audit"]
    [broken] = host.broken
    assert "[subscriptions.wrong].concurency is unknown: did you mean concurrency?" in broken.reason
    assert not host.manager.has_plugin("wrong")


def test_two_adapters_of_one_name_are_an_error() -> None:
    """The second plugin that offers an adapter of the same name is refused and names the first."""

    class First:
        @hookimpl
        def sources(self) -> Mapping[str, object]:
            return {"any": AnyAdapter()}

    class Second(First): ...

    host = load(First(), Second())
    assert list(host.adapters()) == ["any"]
    assert [(one.name, one.reason) for one in host.broken] == [
        ("second", "its adapter 'any' is offered by plugin 'first' already: give it another name")
    ]


def test_the_adapters_of_all_plugins_are_offered() -> None:
    """Adapters are found by the name that a plugin gives them."""
    adapter: Adapter = AnyAdapter()

    class Plugin:
        @hookimpl
        def sources(self) -> Mapping[str, object]:
            return {"acme": adapter}

    assert load(Plugin(), Audit()).adapters() == {"acme": adapter}


def test_an_adapter_need_not_say_its_version() -> None:
    """One that was written before there were versions loads, and counts as version 0."""

    class Nameless:
        make_source = AnyAdapter.make_source
        split = AnyAdapter.split

    class Plugin:
        @hookimpl
        def sources(self) -> Mapping[str, object]:
            return {"old": Nameless(), "new": AnyAdapter()}

    found = load(Plugin()).adapters()
    assert {name: version_of(one) for name, one in found.items()} == {"old": 0, "new": 1}


@pytest.mark.parametrize("version", ["1", 1.5, True, -1, None])
def test_a_version_is_a_whole_number(version: object) -> None:
    """Anything else is told when the plugin is loaded."""
    adapter = AnyAdapter()
    adapter.version = version  # type: ignore[assignment]

    class Plugin:
        @hookimpl
        def sources(self) -> Mapping[str, object]:
            return {"acme": adapter}

    [broken] = load(Plugin()).broken
    assert broken.reason.startswith("the version of the adapter 'acme' must be a whole number, not")


def test_a_sound_host_may_start() -> None:
    """Without broken plugins nothing is refused."""
    load(Audit()).require_sound()


def test_every_broken_plugin_is_told_before_anything_starts(tmp_path: Path) -> None:
    """One error names all that is to be mended, each with its place."""
    (tmp_path / "one.py").write_text("import nowhere")
    (tmp_path / "two.py").write_text("def on_message(event): ...")
    host = Host.load(directories=[tmp_path, tmp_path / "three"], entry_points=())
    with pytest.raises(PluginError) as caught:
        host.require_sound()
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"plugin '{tmp_path / 'three'}'",
        "plugin 'one'",
        "plugin 'two'",
    ]
    assert "there is no such directory" in lines[0]
    assert lines[1].endswith(f"[file {tmp_path / 'one.py'}]")
    assert "put @hookimpl above it" in lines[2]


def test_names_that_no_plugin_answers_to_are_unused(tmp_path: Path) -> None:
    """A name in the configuration is unused unless its plugin runs, is broken, or is turned off."""
    (tmp_path / "broken.py").write_text("import nowhere")
    (tmp_path / "off.py").touch()
    host = Host.load(
        directories=[tmp_path],
        plugins=[Audit()],
        entry_points=(),
        configured={"off": {"enabled": False}},
    )
    assert host.unused(["audit", "adit", "broken", "off", "gone", "adit"]) == ["adit", "gone"]


def test_a_plugin_without_handlers_subscribes_to_nothing() -> None:
    """A plugin that only hears alerts runs, and has no subscription."""

    class Alerts:
        @hookimpl
        def on_dead(self, error: str) -> None: ...

    host = load(Alerts())
    assert [one.name for one in host.running()] == ["alerts"]
    assert host.subscribers() == []


def test_a_plugin_is_transactional_when_one_handler_is() -> None:
    """One handler that names the connection is enough."""

    class Model:
        @hookimpl
        def on_read(self, event: object) -> None: ...

        @hookimpl
        def on_sent(self, event: object, connection: object) -> None: ...

    assert load(Model()).plugins[0].is_transactional
    assert not load(Audit()).plugins[0].is_transactional


def test_hosts_share_nothing() -> None:
    """Two routers in one process each have their own plugins."""
    audit = Audit()
    first, second = load(audit), load()
    assert (len(first.plugins), len(second.plugins)) == (1, 0)
    assert first.manager is not second.manager


def test_an_empty_module_is_a_plugin_without_effect() -> None:
    """A plugin need not implement anything."""
    [plugin] = load(types.ModuleType("nothing")).plugins
    assert (plugin.hooks, plugin.handlers) == ({}, {})


def call(plugin: Plugin, hook: str, **given: object) -> object:
    """Return what the plugin's hook returns."""
    return asyncio.run(plugin.call(hook, **given))


def test_a_plain_hook_is_called_on_a_thread() -> None:
    """What blocks in a plain `def` does not block the loop; the arguments are those it names."""

    class Alerts:
        @hookimpl
        def on_dead(self, error: str, subscription: str) -> object:
            return threading.current_thread() is threading.main_thread(), error, subscription

    [plugin] = load(Alerts()).plugins
    given = {"event": None, "subscription": "crm", "attempts": 2, "error": "boom"}
    assert call(plugin, "on_dead", **given) == (False, "boom", "crm")


def test_an_async_hook_is_awaited() -> None:
    """An `async def` runs on the loop, and its result is handed back."""

    class Alerts:
        @hookimpl
        async def on_subscription_state(self, state: str) -> str:
            return state

    [plugin] = load(Alerts()).plugins
    given = {"subscription": "crm", "state": "paused", "reason": ""}
    assert call(plugin, "on_subscription_state", **given) == "paused"


def test_a_hook_that_is_not_implemented_does_nothing() -> None:
    """Calling it returns None."""
    assert call(load(Audit()).plugins[0], "on_stop") is None
