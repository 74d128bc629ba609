"""Notifications as the Cloud API posts them, each with one status, and logs filled with them."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from random import Random

from router import migrate
from router.events import Entry, Notification
from router.log import EventLog
from router.plugins.whatsapp import WhatsApp
from router.store import Store

SECRET = "benchmark"  # noqa: S105  # nobody's: the load is signed with it on the same machine
SETTINGS = f'[sources.wa]\nadapter = "whatsapp"\napp_secrets = ["{SECRET}"]\n'
SOURCE = WhatsApp("wa", app_secrets=[SECRET])
FILL = 500  # notifications appended at once
_WORDS = ("sent", "delivered", "read")


def write_status(number: int, recipient: int) -> bytes:
    """Return the body of the ``number``-th status; three in a row are about one message."""
    wa_id = f"4915510{recipient:06d}"
    wamid = f"wamid.HBgN{wa_id}FQIAERgS{number // 3:018X}AA=="
    status = {
        "id": wamid,
        "status": _WORDS[number % 3],
        "timestamp": str(1_763_800_000 + number // 1000),
        "recipient_id": wa_id,
        "conversation": {"id": f"{number // 3:032x}", "origin": {"type": "utility"}},
        "pricing": {"billable": True, "pricing_model": "PMP", "category": "utility"},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550001122", "phone_number_id": "550066007700880"},
        "statuses": [status],
    }
    change = {"value": value, "field": "messages"}
    body = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "700100200300400", "changes": [change]}],
    }
    return json.dumps(body, separators=(",", ":")).encode()


def draw_recipients(subjects: int, *, seed: int = 7) -> Iterable[int]:
    """Yield one of ``subjects`` recipients after another, the same ones each time, without end."""
    chance = Random(seed)  # noqa: S311  # chance, not secrecy
    return (chance.randrange(subjects) for _ in count())


def make_log(folder: Path, recipients: Iterable[int] = ()) -> str:
    """Return the URL of a new log in ``folder`` with one status of each of ``recipients``."""
    url = f"sqlite:///{folder / 'router.db'}"
    store = Store(url, create=True)
    migrate.upgrade(store.engine, store.tables)
    store.close()
    fill_log(url, recipients)
    return url


def fill_log(
    url: str,
    recipients: Iterable[int],
    *,
    first: int = 0,
    go_on: Callable[[int], bool] = lambda _appended: True,
) -> int:
    """Append one status of each of ``recipients``, and return how many they were.

    Args:
        url: Of the log.
        recipients: One after another.
        first: The number of the first status; each is appended once only.
        go_on: Is asked after each transaction, and told how many they are by now.
    """
    log, appended = EventLog(url), 0
    entries = (_make_entry(write_status(*one)) for one in enumerate(recipients, first))
    while some := list(islice(entries, FILL)):
        log.append(some)
        appended += len(some)
        if not go_on(appended):
            break
    log.store.close()
    return appended


def _make_entry(body: bytes) -> Entry:
    notification = Notification("wa", datetime.now(UTC), {}, body)
    return Entry(notification, SOURCE.split(body))
