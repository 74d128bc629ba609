"""Tests of `router.plugin_settings`: a plugin's table and variables become its own type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from router.errors import PluginError
from router.plugin_settings import Given, PluginSettings, find_variables
from router.secrets import Secret

FILE = Path("/etc/router.toml")


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """A table within the settings."""

    burst: int


class Settings(msgspec.Struct, rename="kebab"):
    """Settings with values of every kind."""

    url: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 443
    is_strict: bool = False
    tags: tuple[str, ...] = ()
    limits: Limits | None = None


@dataclass
class Plain:
    """Settings as a dataclass with defaults of both kinds."""

    url: str
    tags: list[str] = field(default_factory=list)
    seen: int = field(default=0, init=False)


@dataclass
class Guarded:
    """Settings with secrets in every place."""

    key: Secret
    spare: Secret | None = None
    others: list[Secret] = field(default_factory=list)


def given(table: Mapping[str, object] | None = None, **variables: str) -> Given:
    """Return what a file and an environment say about the plugin `crm-sync`."""
    environ = {f"ROUTER_PLUGINS__CRM_SYNC__{key}": text for key, text in variables.items()}
    tables = {} if table is None else {"crm-sync": table}
    return PluginSettings(tables, environ, FILE, FILE.parent).of("crm-sync")


def test_variables_overrule_the_table() -> None:
    """Text is text; everything else is what it is in JSON; names stand in capitals."""
    table = {"url": "there", "port": 1, "tags": ["a"]}

    found = given(
        table, PORT="8443", IS_STRICT="true", TAGS='["b", "c"]', LIMITS='{"burst": 3}'
    ).read(Settings)

    assert found == Settings(
        url="there", port=8443, is_strict=True, tags=("b", "c"), limits=Limits(3)
    )


def test_variables_alone_are_enough() -> None:
    """No table is needed, and a text that looks like a number stays a text."""
    assert given(URL="12").read(Settings) == Settings("12")
    assert given({}, URL="12").read(Plain) == Plain("12")


def test_plugins_are_told_apart_by_their_names() -> None:
    """A variable is about the plugin whose name it bears, and no other."""
    settings = PluginSettings({}, {"ROUTER_PLUGINS__CRM__URL": "x"})

    assert settings.of("crm").variables == {"URL": "x"}
    assert settings.of("crm-sync").variables == {}
    assert settings.find_strays(["crm"]) == []
    assert settings.find_strays(["crm-sync", "cr"]) == ["ROUTER_PLUGINS__CRM__URL"]


def test_other_variables_and_empty_ones_say_nothing() -> None:
    """As everywhere, an empty variable counts as not set."""
    environ = {"ROUTER_PLUGINS__A__B": "", "ROUTER_PLUGINS_DIR": "x", "ROUTER_PLUGINS__A__C": "1"}
    assert find_variables(environ) == {"ROUTER_PLUGINS__A__C": "1"}


@pytest.mark.parametrize("kind", [Settings, Plain])
def test_a_missing_key_is_told_with_file_key_and_type(kind: type) -> None:
    """The error says where to add it, and what it is."""
    with pytest.raises(PluginError) as caught:
        given({}).read(kind)
    assert caught.value.reason == (
        "/etc/router.toml: [plugins.crm-sync].url is missing: add it, or set "
        "ROUTER_PLUGINS__CRM_SYNC__URL; it is str"
    )


@pytest.mark.parametrize(
    ("table", "variables", "reason"),
    [
        (
            {"url": "x", "prt": 1},
            {},
            "/etc/router.toml: [plugins.crm-sync].prt is unknown: did you mean port?",
        ),
        (
            {"url": "x", "is_strict": True},
            {},
            "/etc/router.toml: [plugins.crm-sync].is_strict is unknown: did you mean is-strict?",
        ),
        (
            {"url": "x", "port": "hush"},
            {},
            "/etc/router.toml: [plugins.crm-sync].port must be",
        ),
        (
            {"url": "x", "limits": {"burts": 1}},
            {},
            "/etc/router.toml: [plugins.crm-sync].limits must be",
        ),
        (
            {"url": "x"},
            {"PORT": "hush"},
            "ROUTER_PLUGINS__CRM_SYNC__PORT must be",
        ),
        (
            {"url": "x"},
            {"PORT": "65536"},
            "ROUTER_PLUGINS__CRM_SYNC__PORT must be",
        ),
        (
            {"url": "x"},
            {"PRT": "1"},
            "the variable ROUTER_PLUGINS__CRM_SYNC__PRT is unknown: did you mean "
            "ROUTER_PLUGINS__CRM_SYNC__PORT?",
        ),
        (
            {"url": "x", "enabled": 1},
            {},
            "/etc/router.toml: [plugins.crm-sync].enabled must be true or false",
        ),
        (
            {"url": "x"},
            {"ENABLED": "hush"},
            "ROUTER_PLUGINS__CRM_SYNC__ENABLED must be true or false",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(
    table: Mapping[str, object], variables: Mapping[str, str], reason: str
) -> None:
    """The error names file or variable, and the key; it never repeats the value."""
    with pytest.raises(PluginError) as caught:
        given(table, **variables).read(Settings)
    assert caught.value.reason.startswith(reason)
    assert "hush" not in caught.value.reason


def test_the_expected_type_is_told() -> None:
    """A person sees what the key takes, and what it was given."""
    with pytest.raises(
        PluginError, match=r"\.tags must be list\[str\]: Expected `array`, got `str`"
    ):
        given({"url": "x", "tags": "a"}).read(Plain)


def test_a_type_may_check_itself() -> None:
    """What it raises in its own words is told."""

    class Picky(msgspec.Struct):
        url: str

        def __post_init__(self) -> None:
            if not self.url.startswith("https:"):
                raise ValueError("url must be https")

    with pytest.raises(PluginError, match="does not fit: url must be https"):
        given({"url": "http://x"}).read(Picky)


@pytest.mark.parametrize(
    ("table", "variables", "state"),
    [
        (None, {}, "on"),
        ({}, {}, "on"),
        ({"enabled": False}, {}, "off"),
        ({"enabled": False}, {"ENABLED": "true"}, "on"),
        (None, {"ENABLED": "false"}, "off"),
    ],
)
def test_a_plugin_is_turned_off_by_either(
    table: Mapping[str, object] | None, variables: Mapping[str, str], state: str
) -> None:
    """The variable has the last word."""
    assert given(table, **variables).is_off is (state == "off")
    assert given(table, **variables).is_asked_for is (table is not None or bool(variables))


def test_secrets_are_kept_until_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of the type `Secret` says where the secret is, counted from the file's folder."""
    (tmp_path / "key").write_text("one\n")
    monkeypatch.setenv("SPARE", "two")
    table = {"key": "file:key", "spare": "env:SPARE", "others": ["three", "env:NONE"]}

    found = PluginSettings({"crm": table}, folder=tmp_path).of("crm").read(Guarded)

    assert isinstance(found, Guarded)
    assert found.spare is not None
    assert (found.key.resolve(), found.spare.resolve()) == ("one", "two")
    assert found.others[0].resolve() == "three"
    assert "three" not in repr(found)


def test_a_secret_may_be_in_a_variable() -> None:
    """The variable holds it, or says where it is."""
    found = PluginSettings({}, {"ROUTER_PLUGINS__CRM__KEY": "12"}).of("crm").read(Guarded)

    assert isinstance(found, Guarded)
    assert found.key.resolve() == "12"
