"""What a call that did not succeed leaves behind: an outcome, its error, and what it had asked."""

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from router.masks import mask_text
from router.parking import Failure
from router.retry import Reject, Retry

if TYPE_CHECKING:  # see `router.context`
    from router.exchanges import Exchange

MAX_ERROR = 2_000  # characters of an error that are kept
MAX_TRACEBACK = 20_000


class Failed(msgspec.Struct, frozen=True):
    """A call that did not succeed.

    Attributes:
        failure: For the record.
        after: Seconds that the handler asked to wait; None leaves it to the options.
        is_final: Whether no further attempt would help.
        kind: The name of the class of what was raised.
    """

    failure: Failure
    after: float | None = None
    is_final: bool = False
    kind: str = ""


def make_failed(
    error: BaseException, *, started: float, ended: float, exchanges: "Sequence[Exchange]" = ()
) -> Failed:
    """Return what a call leaves behind that ended with ``error``.

    Args:
        error: What the handler raised.
        started: When it was called, in seconds since 1970.
        ended: When it had failed, likewise.
        exchanges: What it had asked by HTTP.
    """
    failure = Failure(
        started_at=int(started * 1_000_000),
        duration=ended - started,
        outcome=_find_outcome(error),
        error=_describe(error)[:MAX_ERROR],
        traceback=_trace(error, exchanges)[-MAX_TRACEBACK:],
    )
    error.__traceback__ = None  # one that is raised again must not grow
    after = getattr(error, "after", None) if isinstance(error, Retry) else None
    return Failed(failure, after, isinstance(error, Reject), type(error).__name__)


def _find_outcome(error: BaseException) -> str:
    match error:
        case Retry():
            return "retry"
        case Reject():
            return "rejected"
        case TimeoutError():
            return "timed out"
        case _:
            return "failed"


def _describe(error: BaseException) -> str:
    # Errors of HTTP clients quote the URL that was asked, with its secrets.
    try:
        text = mask_text(_storable(str(error)))
    except Exception:
        text = "(its text cannot be had)"
    if isinstance(error, Retry | Reject):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _trace(error: BaseException, exchanges: "Sequence[Exchange]") -> str:
    """Return where ``error`` came from, and what had been asked before."""
    parts = [mask_text("".join(traceback.format_exception(error)))]
    if exchanges:
        parts += ["\nIt had asked by HTTP:\n", *(f"  {one}\n" for one in exchanges)]
    return _storable("".join(parts))


def _storable(text: str) -> str:
    """Spell out what a database does not take: half a surrogate pair, and NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
