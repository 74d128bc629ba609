"""Which events, and which dead letters: the filters that lists and commands share."""

from datetime import datetime

import msgspec


class Filter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Every field that is given must match; within a field, any of its values.

    Attributes:
        since: Received at this time or later.
        until: Received before this time.
        ids: Ids of events.
        live: Whether to leave out what was found by splitting history again for replays alone.
        reparsed: Whether to take nothing but what was found by splitting history again.
    """

    types: tuple[str, ...] = ()
    subtypes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    live: bool = False
    reparsed: bool = False

    def as_json(self) -> str:
        """Return it as a replay keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Filter":
        """Return the filter that `as_json` wrote down."""
        return msgspec.json.decode(text, type=cls)


class DeadFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every field that is given must match; within a field, any of its values.

    Attributes:
        subscriptions: Their names.
        error: Text that the error holds; the case of its letters makes no difference (of others
            than A to Z it does on SQLite).
        since: The first call failed at this time or later.
        until: The first call failed before this time.
        run: Of live delivery (0), or of the replay with this id.
    """

    subscriptions: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    error: str = ""
    since: datetime | None = None
    until: datetime | None = None
    positions: tuple[int, ...] = ()
    run: int = 0
