"""The application settings of a Coreapp, by names such as `webhooks.url`, and how two differ."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from router.masks import mask_callback

WEBHOOK_CA = "certificates.webhooks.ca"  # no setting, but set like one

# "Some settings require that the Coreapp be restarted": the reference of
# /v1/settings/application; and of /v1/certificates/webhooks/ca: "All Coreapp nodes must be".
NEED_RESTART = frozenset(
    {
        "callback_persist",
        "pass_through",
        "db_garbagecollector_enable",
        "webhooks.max_concurrent_requests",
        WEBHOOK_CA,
    }
)
WITH_SWITCHES = (2, 41, 2)  # the first version with webhooks.message, by the same reference

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that is to be another, or has become one.

    Attributes:
        setting: Its name, with dots.
        old: What it is; None where it is not set.
        new: What it is to be.
    """

    setting: str
    old: object
    new: object

    @property
    def needs_restart(self) -> bool:
        """Whether it has no effect before the Coreapp is restarted."""
        return self.setting in NEED_RESTART

    @property
    def effect(self) -> str:
        """The same in words."""
        return tell_effect(self.setting)

    def as_dict(self) -> dict[str, object]:
        """Return it as it may be shown, without credentials."""
        old, new = show(self.old), show(self.new)
        if old == new:
            new = f"{new} (other credentials)"
        return {
            "setting": self.setting,
            "old": old,
            "new": new,
            "needs_restart": self.needs_restart,
        }


def tell_effect(setting: str) -> str:
    """Return when a change of this setting takes effect."""
    return "after a restart" if setting in NEED_RESTART else "at once"


def flatten(settings: Mapping[str, object], *, prefix: str = "") -> dict[str, object]:
    """Return nested settings by their names with dots, in the order of these."""
    return dict(sorted(_walk(settings, prefix)))


def nest(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings by their names with dots as the nested object that the API takes."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise TypeError(f"{name}: {parent} is a value and a table at a time")
            place = inner
        place[last] = value
    return found


def find_changes(current: Mapping[str, object], wanted: Mapping[str, object]) -> list[Change]:
    """Return what differs in ``current``, for each of the ``wanted``; both by names with dots.

    Numbers and texts of the same digits are equal: the API documents some numbers as texts.
    """
    return [
        Change(setting=name, old=current.get(name), new=value)
        for name, value in wanted.items()
        if not is_same(current.get(name), value)
    ]


def find_side_effects(
    before: Mapping[str, object], after: Mapping[str, object], *, asked: Mapping[str, object]
) -> list[Change]:
    """Return what became different although nobody ``asked`` for it."""
    names = [name for name in {**before, **after} if name not in asked]
    return [
        Change(setting=name, old=before.get(name), new=after.get(name))
        for name in names
        if not is_same(before.get(name), after.get(name))
    ]


def is_same(one: object, other: object) -> bool:
    """Whether two values stand for the same setting."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other or (one is not None and other is not None and str(one) == str(other))


def show(value: object) -> object:
    """Return a value as it may be shown."""
    return mask_callback(value) if isinstance(value, str) else value


def show_all(values: Mapping[str, object]) -> dict[str, object]:
    """Return all values as they may be shown."""
    return {name: show(value) for name, value in values.items()}


def has_switches(version: str, current: Mapping[str, object]) -> bool:
    """Whether a Coreapp knows webhooks.message, by what it has set or by its version."""
    if any(name.startswith("webhooks.message.") for name in current):
        return True
    match = _VERSION.match(version)
    return match is not None and tuple(int(part or 0) for part in match.groups()) >= WITH_SWITCHES


def _walk(settings: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
