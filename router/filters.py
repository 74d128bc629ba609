"""Which events: the one filter that lists, exports and replays share."""

from datetime import datetime

import msgspec


class Filter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Every field that is given must match; within a field, any of its values.

    Attributes:
        since: Received at this time or later.
        until: Received before this time.
        ids: Ids of events.
    """

    types: tuple[str, ...] = ()
    subtypes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def as_json(self) -> str:
        """Return it as a replay keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Filter":
        """Return the filter that `as_json` wrote down."""
        return msgspec.json.decode(text, type=cls)
