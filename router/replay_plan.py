"""The plan of a replay: what it would do, counted before it does anything."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from router.errors import RouterError
from router.filters import Filter
from router.hookspecs import ReplayPolicy


class Refused(RouterError):
    """A replay would call nothing, or what it must not; says the ways to allow it."""


class Plan(msgspec.Struct, frozen=True):
    """What a replay would do.

    Attributes:
        first: The first position.
        end: The position behind the last, fixed when the plan is made.
        by_type: How many events match, by type.
        declared: What the handlers want to become of each type.
        include_effects: Whether handlers are called, too, that replays skip otherwise.
        overlapping: The replays of the subscription that have not ended and share positions.
    """

    subscription: str
    first: int
    end: int
    matching: Filter
    by_type: Mapping[str, int]
    declared: Mapping[str, ReplayPolicy]
    include_effects: bool = False
    overlapping: Sequence[int] = ()

    @property
    def policies(self) -> Mapping[str, ReplayPolicy]:
        """What becomes of each type."""
        return {
            type_: "allow" if policy == "skip" and self.include_effects else policy
            for type_, policy in self.declared.items()
        }

    @property
    def types(self) -> tuple[str, ...]:
        """The types that handlers will be called with."""
        return tuple(type_ for type_, policy in self.policies.items() if policy == "allow")

    @property
    def total(self) -> int:
        """How many events handlers will be called with."""
        return self.count("allow")

    @property
    def effects(self) -> int:
        """How many of these have handlers that would be skipped but for `include_effects`."""
        if not self.include_effects:
            return 0
        return sum(n for type_, n in self.by_type.items() if self.declared[type_] == "skip")

    def count(self, policy: ReplayPolicy) -> int:
        """Count the matching events that ``policy`` holds for."""
        return sum(n for type_, n in self.by_type.items() if self.policies[type_] == policy)

    def require_allowed(self) -> None:
        """Refuse what must not be replayed, and what would be replayed to nobody.

        Raises:
            Refused: Says which types, and how to allow them.
        """
        refused = sorted(t for t in self.by_type if self.policies[t] == "refuse")
        if refused:
            raise Refused(
                f"the handlers of {self.subscription!r} for {', '.join(refused)} refuse replays: "
                "leave those types out with --type"
            )
        if not self.policies:
            raise Refused(f"{self.subscription!r} handles none of the types asked for")
        if not self.types or (self.by_type and not self.total):
            raise Refused(
                f"all {sum(self.by_type.values())} matching events would be skipped: the handlers "
                f"of {self.subscription!r} may have effects outside the database. Allow them for "
                f'this replay with --include-effects, for all with replay = "allow" in '
                f'[subscriptions.{self.subscription}], or in code with @hookimpl(replay="allow")'
            )


def find_objection(
    policies: Mapping[str, ReplayPolicy], types: Iterable[str], *, include_effects: bool
) -> str | None:
    """Return why handlers must not be called by a replay that was allowed when it was planned.

    The plugin or its options may have changed since.

    Args:
        policies: What they want by now, by type.
        types: Those that the replay would call them with.
        include_effects: Whether it may call what replays skip otherwise.
    """
    for type_ in types:
        policy = policies.get(type_)
        if policy is None:
            return f"the plugin has no handler for {type_} any more"
        if policy == "refuse":
            return f"the handler for {type_} refuses replays by now"
        if policy == "skip" and not include_effects:
            return (
                f"the handler for {type_} may have effects outside the database by now: if they "
                "are wanted, start another replay with --include-effects"
            )
    return None
