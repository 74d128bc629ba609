"""What an answer that is no success asks for."""

from email.utils import parsedate_to_datetime

GONE = 410
BUSY = (429, 503)
REDIRECTIONS = range(300, 400)

LONGEST = 86_400.0  # seconds: nobody is waited for longer without another look


def read_retry_after(status: int, value: str, *, now: float) -> float | None:
    """Return the seconds that a busy service asks for; None leaves it to the subscription.

    Args:
        status: Of the answer.
        value: Its header ``Retry-After``: seconds, or a date; empty where there is none.
        now: Seconds since 1970.
    """
    if status not in BUSY:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), LONGEST)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return min(max(0.0, until - now), LONGEST)
