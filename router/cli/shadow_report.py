"""What a plugin would have done with history, and where two versions of it part; printed."""

from collections import Counter
from collections.abc import Sequence

import httpx2
import msgspec

from router.cli import output
from router.events import Event
from router.exchanges import show
from router.replay_plan import Plan
from router.shadow import DONE, NOT_HANDLED, Trial
from router.transports import Sent

MOST_SHOWN = 200  # characters of a body, for people

Row = dict[str, object]


class Difference(msgspec.Struct, frozen=True):
    """An event of which two versions make something else.

    Attributes:
        event: The event, in a few words.
        live: What the version that is loaded does with it.
        new: What the other one does.
    """

    event: Row
    live: Trial
    new: Trial

    def as_dict(self) -> Row:
        """Return it for JSON."""
        return {**self.event, "live": _as_dict(self.live), "new": _as_dict(self.new)}


class Report:
    """What came of a trial, as far as it has come.

    Args:
        plan: What is tried.
        origin: Where the plugin comes from.
        is_compared: Whether a second version does the same beside it.

    Attributes:
        total: How many events there were.
        differences: What two versions do not do alike.
    """

    def __init__(self, plan: Plan, *, origin: str, is_compared: bool) -> None:
        self.total = 0
        self.differences: list[Difference] = []
        self._plan = plan
        self._origin = origin
        self._is_compared = is_compared
        self._outcomes: dict[str, Counter[str]] = {}
        self._asked = 0
        self._calls: list[Row] = []
        self._failures: list[Row] = []

    def add(self, event: Event, trials: Sequence[Trial]) -> None:
        """Take down what came of one event: in what is tried, then in what it is held against."""
        new, *others = trials
        self.total += 1
        self._outcomes.setdefault(event.type, Counter())[new.outcome] += 1
        self._asked += len(new.calls)
        calls = Counter((one.method, _shown(one)) for one in new.calls)
        for (method, url), count in calls.items():
            self._calls.append({**_name(event), "method": method, "url": url, "count": count})
        if new.is_failure:
            self._failures.append({**_name(event), "outcome": new.outcome, "error": new.error})
        for live in others:
            if _essence(new) != _essence(live):
                self.differences.append(Difference(_name(event), live, new))

    def print(self, *, as_json: bool) -> None:
        """Print it."""
        if as_json:
            output.print_json(self._as_dict())
            return
        self._print_outcomes()
        if self._is_compared:
            self._print_differences()
        else:
            self._print_rows(("position", "method", "url", "count"), self._calls)
            self._print_rows(("position", "outcome", "error"), self._failures)

    def _as_dict(self) -> Row:
        found: Row = {
            "subscription": self._plan.subscription,
            "plugin": self._origin,
            "from": self._plan.first,
            "to": self._plan.end,
            "total": self.total,
            "outcomes": self._outcomes,
            "calls": self._calls,
            "failures": self._failures,
        }
        if self._is_compared:
            found["differences"] = [one.as_dict() for one in self.differences]
        return found

    def _print_outcomes(self) -> None:
        output.print_text(
            f"{self.total} events from {self._plan.first} to before {self._plan.end} were tried: "
            f"{self._asked} HTTP requests, none was sent; nothing was written"
        )
        names = sorted({name for counts in self._outcomes.values() for name in counts}, key=_rank)
        rows = [
            (type_, *(counts[name] for name in names))
            for type_, counts in sorted(self._outcomes.items())
        ]
        output.print_table(("type", *names), rows)

    def _print_rows(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            output.print_text("")
            shown = [[_cell(row[name]) for name in columns] for row in rows]
            output.print_table(columns, shown)

    def _print_differences(self) -> None:
        output.print_text(f"events that differ: {len(self.differences)}")
        for one in self.differences:
            event = one.event
            output.print_text("")
            _print_clean(f"event {event['position']} ({event['type']}, {event['subtype']})")
            _print_trial("live", one.live)
            _print_trial("new", one.new)


def _print_trial(side: str, trial: Trial) -> None:
    error = f": {output.first_line(trial.error)}" if trial.error else ""
    _print_clean(f"  {side}: {trial.outcome}{error}")
    for call in trial.calls:
        body = output.first_line(_decode(call.body), width=MOST_SHOWN)
        _print_clean(f"    {call.method} {_shown(call)} {body}".rstrip())


def _print_clean(text: str) -> None:
    output.print_text(output.clean(text))


def _cell(value: object) -> object:
    return output.first_line(value) if isinstance(value, str) else value


def _rank(outcome: str) -> tuple[bool, bool, str]:
    """Put what is well first, and what nobody handles last."""
    return outcome == NOT_HANDLED, outcome != DONE, outcome


def _name(event: Event) -> Row:
    return {
        "position": event.position,
        "id": event.id,
        "type": event.type,
        "subtype": event.subtype,
    }


def _essence(trial: Trial) -> object:
    """Return what two versions must agree in: not headers, in which times and signatures are."""
    return trial.outcome, [(one.method, one.url, one.body) for one in trial.calls]


def _as_dict(trial: Trial) -> Row:
    calls = [
        {"method": one.method, "url": _shown(one), "body": _decode(one.body)} for one in trial.calls
    ]
    return {"outcome": trial.outcome, "error": trial.error, "calls": calls}


def _decode(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


def _shown(sent: Sent) -> str:
    """Return the URL without credentials and without the values in its query."""
    return show(httpx2.URL(sent.url))
