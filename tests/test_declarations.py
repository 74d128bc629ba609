"""Tests of `router.declarations`: what a plugin says about itself is checked before it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
import msgspec
import pytest
from sqlalchemy import MetaData

from router.declarations import Declarations, check_commands, read_declarations
from router.errors import ConfigError, PluginError
from router.handlers import make_implementation
from router.plugin_settings import Given


class Settings(msgspec.Struct):
    """Settings of a plugin that needs an address."""

    url: str
    port: int = 443


@dataclass
class Plain:
    """Settings as a dataclass."""

    url: str = "here"


def read(
    configured: Mapping[str, object] | None = None, *, is_enabled: bool = True, **answers: object
) -> Declarations:
    """Return the declarations of the plugin `crm`, whose hooks give these answers."""

    def answer(value: object) -> object:
        if isinstance(value, Exception | SystemExit):
            raise value
        return value

    hooks = {
        hook: make_implementation(hook, lambda value=value: answer(value))
        for hook, value in answers.items()
    }
    hooks = {name: msgspec.structs.replace(hook, names=()) for name, hook in hooks.items()}
    return read_declarations("crm", hooks, Given("crm", configured), is_enabled=is_enabled)


def test_a_plugin_need_not_say_anything() -> None:
    """Without any declaration there are no options, no adapters and no settings."""
    found = read()
    assert (found.options, found.adapters, found.settings, found.tables) == ({}, {}, None, None)


def test_options_are_kept_as_they_were_declared() -> None:
    """Declared options are checked and kept, for the configuration to overrule."""
    options = {"timeout": "5s", "retry": {"attempts": 3}}
    assert read(subscription_options=options).options == options


def test_unknown_options_are_refused() -> None:
    """An option that does not exist is named."""
    with pytest.raises(ConfigError, match=r"subscription_options\(\).*\.lane is unknown"):
        read(subscription_options={"lane": 3})


def test_settings_become_the_plugins_own_type() -> None:
    """The table is converted to the type that the plugin declares; `enabled` is the router's."""
    found = read({"url": "https://crm", "enabled": True}, settings=Settings)
    assert found.settings == Settings("https://crm", 443)
    assert read({"url": "there"}, settings=Plain).settings == Plain("there")


def test_settings_may_be_called_otherwise_in_the_file() -> None:
    """A field that is renamed for the file is known there by that name."""

    class Renamed(msgspec.Struct, rename="kebab"):
        base_url: str

    found = read({"base-url": "https://crm"}, settings=Renamed)
    assert found.settings == Renamed("https://crm")


@pytest.mark.parametrize(
    ("configured", "kind", "reason"),
    [
        (
            {"urll": "x"},
            Settings,
            "[plugins.crm].urll is unknown: did you mean url? Known are enabled, port, url",
        ),
        ({"urll": "x"}, Plain, "[plugins.crm].urll is unknown: did you mean url?"),
        (
            {},
            Settings,
            "[plugins.crm].url is missing: add it, or set ROUTER_PLUGINS__CRM__URL; it is str",
        ),
        (
            {"url": 3},
            Settings,
            "[plugins.crm].url must be str: Expected `str`, got `int`",
        ),
        ({"enabled": "no"}, Plain, "[plugins.crm].enabled must be true or false"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    configured: Mapping[str, object], kind: type, reason: str
) -> None:
    """A key that is unknown, missing or of the wrong kind is named with its table."""
    with pytest.raises(PluginError) as caught:
        read(configured, settings=kind)
    assert caught.value.reason.startswith(reason)


def test_settings_for_a_plugin_that_takes_none_are_refused() -> None:
    """A key that nobody would read is an error."""
    with pytest.raises(PluginError, match=r"\[plugins.crm\].url is unknown; known are enabled"):
        read({"url": "x"})


def test_a_plugin_that_does_not_run_needs_no_settings() -> None:
    """A plugin that is not asked for is not held to settings that nobody gave, nor has tables."""
    found = read(settings=Settings, tables=MetaData(), is_enabled=False)
    assert (found.settings, found.tables) == (None, None)


@pytest.mark.parametrize(
    ("hook", "answer", "reason"),
    [
        ("settings", 5, "settings() must return a msgspec Struct or a dataclass, not 5"),
        ("settings", dict, "settings() must return a msgspec Struct or a dataclass, not <class"),
        ("subscription_options", None, "subscription_options() must return a mapping of options"),
        ("sources", [], "sources() must return a mapping of adapters, not []"),
        ("sources", {"x": 5}, "sources() must return adapters, with make_source() and split()"),
        ("settings", KeyError("x"), "settings() failed: KeyError: 'x' ("),
        ("settings", SystemExit(0), "settings() failed: SystemExit: 0 ("),
        ("routes", SystemExit(0), "routes() failed: SystemExit: 0 ("),
        ("routes", {}, "routes() must return a sequence of routes, not {}"),
        ("commands", OSError("gone"), "commands() failed: OSError: gone ("),
        ("commands", None, "commands() must return a sequence of commands, not None"),
        ("subscription_options", OSError("gone"), "subscription_options() failed: OSError: gone ("),
        ("sources", OSError("gone"), "sources() failed: OSError: gone ("),
        (
            "tables",
            [],
            "tables() must return a MetaData of SQLAlchemy (that of a declarative Base is "
            "Base.metadata), not []",
        ),
        ("tables", OSError("gone"), "tables() failed: OSError: gone ("),
    ],
)
def test_wrong_answers_are_refused(hook: str, answer: object, reason: str) -> None:
    """A declaration that fails or returns the wrong kind of thing is told with what was due."""
    with pytest.raises(PluginError) as caught:
        read(**{hook: answer})  # type: ignore[arg-type]  # none of them is is_enabled
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ([print], "must return commands of click"),
        ([click.Command(None)], "each with a name"),
        ([click.Command("a"), click.Command("a")], "two of its commands are called 'a'"),
    ],
)
def test_commands_that_cannot_be_run_are_refused(commands: Sequence[object], reason: str) -> None:
    """What is no command, and what would hide another, is an error that names the plugin."""
    with pytest.raises(PluginError, match=reason):
        check_commands("crm", commands)
