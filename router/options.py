"""How a subscription is delivered to: its options, their limits, and durations such as "5m"."""

import re
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from router.errors import ConfigError
from router.events import SHARDS

Start = Literal["now", "beginning"]
Order = Literal["subject", "none"]
OnDead = Literal["release", "hold"]
ReplayPolicy = Literal["allow", "skip", "refuse"]
CallsOut = Literal["context.http"]

_UNITS: dict[str, Decimal | int] = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": Decimal("0.001")}
_DURATION = re.compile(r"(?P<number>[0-9]{1,20}(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d)")
_LONGEST = 36_500 * 86_400.0  # a hundred years: sums with the clock stay within 64 bits
_DURATION_HELP = 'a duration such as "200ms", "30s", "5m", "24h" or "30d", or a number of seconds'


def parse_duration(text: object) -> float:
    """Return the seconds that ``text`` stands for: ``"200ms"``, ``"5m"``, or plain seconds.

    Raises:
        ValueError: It is no such thing, negative, or longer than a hundred years.
    """
    seconds = -1.0
    if isinstance(text, str) and (match := _DURATION.fullmatch(text)):
        seconds = float(Decimal(match["number"]) * _UNITS[match["unit"]])
    elif isinstance(text, int | float) and not isinstance(text, bool):
        seconds = text
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"{text!r} is not {_DURATION_HELP}, up to 36500d")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Return ``seconds`` as a whole number of the largest unit that allows it, else as decimals.

    `parse_duration` reads it back as the very same number.
    """
    exact = Decimal(repr(seconds)).normalize()
    for unit, size in _UNITS.items():
        if exact and not exact % size:
            return f"{exact // size:f}{unit}"
    return f"{exact:f}s"


class Rule(msgspec.Struct, frozen=True):
    """What a setting may be.

    Attributes:
        allowed: The same in words, for the sentence "it must be …".
        kind: The type that msgspec holds the value to.
        duration: Whether it may be written as `parse_duration` takes it.
    """

    allowed: str
    kind: object
    duration: bool = False


_MOST = sys.float_info.max  # keeps infinity out
_COUNT = Rule("a whole number of at least 1", Annotated[int, Meta(ge=1)])
_LANES = Rule(f"a whole number from 1 to {SHARDS}", Annotated[int, Meta(ge=1, le=SHARDS)] | None)
_FACTOR = Rule("a number of at least 1", Annotated[float, Meta(ge=1, le=_MOST)])
_RATE = Rule(
    "a number of events a second, more than 0", Annotated[float, Meta(gt=0, le=_MOST)] | None
)
_SWITCH = Rule("true or false", bool)
_WAIT = Rule(_DURATION_HELP, float, duration=True)
_PERIOD = Rule(f"{_DURATION_HELP}, more than 0", Annotated[float, Meta(gt=0)], duration=True)

_RETRY_RULES = {
    "first": _WAIT,
    "factor": _FACTOR,
    "cap": _WAIT,
    "attempts": _COUNT,
    "give_up_after": _PERIOD,
    "jitter": _SWITCH,
}
RULES: Mapping[str, Rule | Mapping[str, Rule]] = {
    "start": Rule('"now" or "beginning"', Start),
    "order": Rule('"subject" or "none"', Order),
    "concurrency": _COUNT,
    "rate": _RATE,
    "timeout": _PERIOD,
    "retry": _RETRY_RULES,
    "on_dead": Rule('"release" or "hold"', OnDead),
    "replay": Rule('"allow", "skip" or "refuse"', ReplayPolicy | None),
    "lanes": _LANES,
    "calls_out": Rule('"context.http"', CallsOut | None),
}


def _read(value: object, rule: Rule, *, where: str) -> object:
    try:
        return msgspec.convert(parse_duration(value) if rule.duration else value, rule.kind)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{where} must be {rule.allowed}, not {value!r}") from error


def _settle(options: msgspec.Struct, rules: Mapping[str, Rule | Mapping[str, Rule]]) -> None:
    """Hold options made in Python to the same rules as a file's, durations as text included."""
    for key, rule in rules.items():
        if isinstance(rule, Rule):
            value = _read(getattr(options, key), rule, where=f"{type(options).__name__}.{key}")
            force_setattr(options, key, value)


class RetryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a failed delivery is tried again, and when it is given up.

    Attributes:
        first: Seconds before the second attempt; `router.retry` says how it goes on.
        factor: What each further delay is multiplied by.
        cap: Seconds that no delay exceeds.
        attempts: How many calls an event gets, the first included.
        give_up_after: Seconds after the first failure from which a failed attempt is the last.
        jitter: Whether delays are spread at random.

    Raises:
        ConfigError: A value is out of its range.
    """

    first: float = 5.0
    factor: float = 2.0
    cap: float = 3600.0
    attempts: int = 50
    give_up_after: float = 86400.0
    jitter: bool = True

    def __post_init__(self) -> None:
        _settle(self, _RETRY_RULES)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one subscription is delivered to.

    Attributes:
        start: Where it begins when it is born: at the log's end, or at its first event.
        order: What is handled in log order: each subject's events, or none.
        concurrency: How many events of a lane are in handlers at once.
        rate: Events a second; None for no limit.
        timeout: Seconds that one call of a handler may take.
        retry: When a failed delivery is tried again.
        on_dead: Whether a subject goes on after a dead letter, or waits for the operator.
        replay: What replays do with its handlers; None leaves it to them.
        lanes: Into how many parts, each owned by one process, its subjects are divided; None is as
            many as suit the database: 1 on SQLite, 8 on PostgreSQL.
        calls_out: "context.http" where whatever its plugin does outside the database is done by
            that, or where it does nothing there; None where nobody says so.

    Raises:
        ConfigError: A value is out of its range.
    """

    start: Start = "now"
    order: Order = "subject"
    concurrency: int = 32
    rate: float | None = None
    timeout: float = 30.0
    retry: RetryOptions = RetryOptions()
    on_dead: OnDead = "release"
    replay: ReplayPolicy | None = None
    lanes: int | None = None
    calls_out: CallsOut | None = None

    def __post_init__(self) -> None:
        _settle(self, RULES)


def merge_options(
    declared: Mapping[str, object], configured: Mapping[str, object], *, where: str
) -> Options:
    """Return the options that a plugin ``declared``, overruled key by key by ``configured``.

    Args:
        declared: What the plugin's ``subscription_options()`` gave; written as in `router.toml`.
        configured: The table ``[subscriptions.NAME]``.
        where: What messages call that table, such as ``[subscriptions.crm]``.

    Raises:
        ConfigError: A key is unknown or its value not allowed; names the key and what is allowed.
    """
    beneath = _read_table(declared, RULES, where=f"subscription_options() beneath {where}")
    above = _read_table(configured, RULES, where=where)
    merged = {**beneath, **above, "retry": _retry_of(beneath) | _retry_of(above)}
    return msgspec.convert(merged, Options)


def explain_unknown(name: str, known: Iterable[str]) -> str:
    """Return "is unknown", then what was perhaps meant by ``name`` and what is known."""
    names = sorted(known)
    listed = ", ".join(names) or "none"
    near = get_close_matches(name, names, n=1)
    if near:
        return f"is unknown: did you mean {near[0]}? Known are {listed}"
    return f"is unknown; known are {listed}"


def _read_table(
    table: object, rules: Mapping[str, Rule | Mapping[str, Rule]], *, where: str
) -> dict[str, object]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table of settings, not {table!r}")
    values: dict[str, object] = {}
    for key, value in table.items():
        rule = rules.get(key)
        place = f"{where}.{key}"
        if rule is None:
            raise ConfigError(f"{place} {explain_unknown(str(key), rules)}")
        if isinstance(rule, Rule):
            values[key] = _read(value, rule, where=place)
        else:
            values[key] = _read_table(value, rule, where=place)
    return values


def _retry_of(values: Mapping[str, object]) -> dict[str, object]:
    retry = values.get("retry", {})
    return dict(retry) if isinstance(retry, Mapping) else {}
