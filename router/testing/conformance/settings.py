"""What is promised of settings: a wrong one is an error that names it, and none opens a door."""

from collections.abc import Callable, Mapping

from router.errors import ConfigError
from router.sources import Request, Source, version_of
from router.testing.conformance.given import Broken, Given, require, verify

Check = Callable[[Given], None]

UNKNOWN = "no_such_key"


def _make(given: Given, settings: Mapping[str, object], what: str) -> Source | ConfigError:
    try:
        return given.adapter.make_source("conformance", settings)
    except ConfigError as error:
        return error
    except Exception as error:
        raise Broken(f"make_source() raised {error!r} for {what}: ConfigError is due") from error


def _are_known(given: Given) -> None:
    made = _make(given, {**given.settings, UNKNOWN: 1}, "an unknown key")
    require(isinstance(made, ConfigError), "make_source() takes a key that it does not know")
    require(UNKNOWN in str(made), f"the error about an unknown key does not name it: {made}")


def _are_of_their_kind(given: Given) -> None:
    for key in given.settings:
        made = _make(given, {**given.settings, key: object()}, f"a wrong kind of {key}")
        require(isinstance(made, ConfigError), f"make_source() takes anything at all as {key}")
        require(key in str(made), f"the error about {key} does not name it: {made}")


def _open_nothing_by_default(given: Given) -> None:
    for settings in (
        {},
        *({k: given.settings[k] for k in given.settings if k != gone} for gone in given.settings),
    ):
        made = _make(given, settings, f"the settings {sorted(settings)}")
        if isinstance(made, ConfigError):
            continue
        is_open = verify(made, Request(body=b"{}")) is None
        told = f"with no more than {sorted(settings)} anybody may send: that must be asked for"
        require(not is_open, told)


def _have_a_version(given: Given) -> None:
    version: object = version_of(given.adapter)
    is_number = type(version) is int and version >= 0
    require(is_number, f"the adapter's version must be a whole number, not {version!r}")


def _name_the_source(given: Given) -> None:
    for name in ("wa", "other-1"):
        made = given.adapter.make_source(name, given.settings)
        require(made.name == name, f"the source {name!r} calls itself {made.name!r}")


CHECKS: Mapping[str, tuple[str, Check]] = {
    "unknown-setting": ("an unknown key is a ConfigError that names it", _are_known),
    "wrong-setting": (
        "a value of the wrong kind is a ConfigError that names it",
        _are_of_their_kind,
    ),
    "open-by-default": ("no lack of a setting lets anybody send", _open_nothing_by_default),
    "version": ("the adapter's version is a whole number", _have_a_version),
    "name": ("a source has the name that it was given", _name_the_source),
}
