"""The application settings of a Coreapp: what may be set, what is in force, and since when.

Names, defaults and what needs a restart are those of Meta's "Application Settings" for the
On-Premises API. A setting that needs a restart reads back at once and acts after it.
"""

import copy
import re
from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

Json = dict[str, object]

NEEDS_RESTART = ("callback_persist", "pass_through", "webhooks.max_concurrent_requests")
SWITCHES_SINCE = (2, 41, 2)  # `webhooks.message` in place of `sent_status`
PASS_THROUGH_UNTIL = (2, 35)  # from here on, it cannot be switched on again

_Milliseconds = Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=r"^[0-9]{1,12}$")]
_Seconds = Annotated[int, Meta(ge=0)]


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    sent: bool | UnsetType = UNSET
    delivered: bool | UnsetType = UNSET
    read: bool | UnsetType = UNSET


class _Webhooks(msgspec.Struct, forbid_unknown_fields=True):
    url: str | UnsetType = UNSET
    max_concurrent_requests: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    message: _Message | UnsetType = UNSET


class _Application(msgspec.Struct, forbid_unknown_fields=True):
    """All that a PATCH may name; what has no bearing on callbacks is only kept."""

    callback_backoff_delay_ms: _Milliseconds | UnsetType = UNSET
    callback_persist: bool | UnsetType = UNSET
    max_callback_backoff_delay_ms: _Milliseconds | UnsetType = UNSET
    pass_through: bool | UnsetType = UNSET
    sent_status: bool | UnsetType = UNSET
    webhooks: _Webhooks | UnsetType = UNSET
    axolotl_context_striping_disabled: bool | UnsetType = UNSET
    db_garbagecollector_enable: bool | UnsetType = UNSET
    garbagecollector_enable: Json | UnsetType = UNSET
    heartbeat_interval: _Seconds | UnsetType = UNSET
    log_level: str | UnsetType = UNSET
    media: Json | UnsetType = UNSET
    notify_user_change_number: bool | UnsetType = UNSET
    on_call_pager: str | UnsetType = UNSET
    show_security_notifications: bool | UnsetType = UNSET
    unhealthy_interval: _Seconds | UnsetType = UNSET
    verbose_logging: bool | UnsetType = UNSET


DEFAULTS: Json = {
    "callback_backoff_delay_ms": 3000,
    "callback_persist": True,
    "heartbeat_interval": 5,
    "max_callback_backoff_delay_ms": 900000,
    "media": {"auto_download": []},
    "pass_through": False,
    "sent_status": False,
    "unhealthy_interval": 30,
    "webhooks": {
        "max_concurrent_requests": 6,
        "message": {"sent": False, "delivered": True, "read": True},
        "url": "",
    },
}


class Unsettable(Exception):
    """A setting cannot be set so.

    Args:
        code: As the Coreapp numbers its errors.
        title: What that number means.
        details: What is wrong with which setting.
    """

    def __init__(self, code: int, title: str, details: str) -> None:
        super().__init__(details)
        self.code, self.title, self.details = code, title, details


class Callback(msgspec.Struct, frozen=True):
    """How notifications are sent, by the settings in force.

    Attributes:
        url: Where to, with its scheme; empty where none is set.
        statuses: The statuses that are switched on; ``failed`` always is.
        persist: Whether what is not acknowledged is kept on disk.
        concurrency: Requests at the same time, at most.
        backoff: Seconds by which the delay grows with each failure.
        longest: Seconds that the delay never exceeds.
    """

    url: str
    statuses: frozenset[str]
    persist: bool
    concurrency: int
    backoff: float
    longest: float

    def find_delay(self, failures: int) -> float:
        """Return the seconds until the next attempt: each failure adds ``backoff`` to them."""
        return min(self.backoff * failures, self.longest)


class ApplicationSettings:
    """What was set, and what is in force.

    Args:
        version: Of the Coreapp, such as ``v2.53.1``: it decides on `SWITCHES_SINCE` and
            `PASS_THROUGH_UNTIL`.
        changes: What differs from `DEFAULTS` from the beginning, and is in force.

    Note:
        ``pass_through`` is about the copies of messages that a Coreapp keeps for itself once they
        are delivered; no callback depends on it, so here it is kept and read back, and that is all.
        What an old Coreapp says to ``webhooks.message`` is not documented: here it is refused.
    """

    def __init__(self, *, version: str, changes: Mapping[str, object] | None = None) -> None:
        self.version = version
        self._number = tuple(int(part) for part in re.findall(r"\d+", version))
        self._set: Json = _merge({}, changes or {})  # nothing but what somebody has set
        self._restarted = self.read()
        self._in_force = self._work_out()

    def read(self) -> Json:
        """Return all settings, as a GET tells them."""
        found = _merge(DEFAULTS, self._set)
        if self._number < SWITCHES_SINCE:
            cast("Json", found["webhooks"]).pop("message")
        return found

    def change(self, patch: object) -> None:
        """Take what a PATCH says; what it does not name stays.

        Raises:
            Unsettable: A name is unknown, or a value not of its kind; then nothing is changed.
        """
        _check(patch)
        changes = cast("Json", patch)
        if self._number < SWITCHES_SINCE and _find(changes, "webhooks.message") is not None:
            raise Unsettable(1010, "Parameter is not required", "webhooks.message needs v2.41.2")
        is_off = self.read()["pass_through"] is False
        if changes.get("pass_through") is True and is_off and self._number >= PASS_THROUGH_UNTIL:
            details = "pass_through cannot be re-enabled since v2.35"
            raise Unsettable(1009, "Parameter value is not valid", details)
        self._set = _merge(self._set, changes)
        self._in_force = self._work_out()

    def reset(self) -> None:
        """Return to the defaults, as a DELETE does."""
        self._set = {}
        self._in_force = self._work_out()

    def restart(self) -> None:
        """Put into force what has waited for a restart."""
        self._restarted = self.read()
        self._in_force = self._work_out()

    def pending(self) -> list[str]:
        """Return the settings that wait for a restart."""
        now = self.read()
        return [name for name in NEEDS_RESTART if _find(now, name) != _find(self._restarted, name)]

    def in_force(self) -> Callback:
        """Return what is in force now; asked for with each notification, so it stands ready."""
        return self._in_force

    def _work_out(self) -> Callback:
        now = self.read()
        return Callback(
            url=complete(str(_find(now, "webhooks.url"))),
            statuses=self._find_statuses(),
            persist=self._restarted["callback_persist"] is True,
            concurrency=_as_int(_find(self._restarted, "webhooks.max_concurrent_requests")),
            backoff=_as_int(now["callback_backoff_delay_ms"]) / 1000,
            longest=_as_int(now["max_callback_backoff_delay_ms"]) / 1000,
        )

    def _find_statuses(self) -> frozenset[str]:
        """Which are on; ``webhooks.message.sent`` is preferred to ``sent_status``, once set."""
        switches = cast("Json", _find(_merge(DEFAULTS, self._set), "webhooks.message"))
        found = {name for name in ("delivered", "read") if switches[name]}
        sent = _find(self._set, "webhooks.message.sent")
        if self._set.get("sent_status") if sent is None else sent:
            found.add("sent")
        return frozenset(found | {"failed"})


def complete(url: str) -> str:
    """Return ``url`` with a scheme: Meta's own example has none, and HTTPS is demanded."""
    return url if not url or "://" in url else f"https://{url}"


def _check(patch: object) -> None:
    try:
        msgspec.convert(patch, _Application)
    except msgspec.ValidationError as error:
        details = str(error)
        if "unknown field" in details:
            raise Unsettable(1010, "Parameter is not required", details) from error
        raise Unsettable(1009, "Parameter value is not valid", details) from error


def _merge(below: Mapping[str, object], above: Mapping[str, object]) -> Json:
    """Return both as one, objects key by key; nothing is shared with what was given."""
    merged = copy.deepcopy(dict(below))
    for name, value in above.items():
        former = merged.get(name)
        is_nested = isinstance(former, dict) and isinstance(value, dict)
        merged[name] = _merge(cast("Json", former), cast("Json", value)) if is_nested else value
    return copy.deepcopy(merged)


def _find(settings: Json, name: str) -> object:
    found: object = settings
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _as_int(value: object) -> int:
    return int(cast("int | str", value))
