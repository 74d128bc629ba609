"""`router coreapp test`: what can be proved of a callback, from here and by waiting."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import click
import httpx2
import msgspec

from router import bodies
from router.cli import output, selection
from router.cli.coreapp_options import with_coreapp
from router.cli.send import explain
from router.cli.settings import with_log
from router.coreapp import Coreapp
from router.errors import RouterError
from router.events import Event
from router.filters import Filter
from router.log import EventLog
from router.masks import mask_callback
from router.outgoing import Outgoing
from router.tls import trust_also

POLL = 0.5  # seconds between two looks at the log
PAGE = 250
FAILED = 3
UPLOAD_IT = (
    "upload the CA that has signed it, router coreapp configure --webhook-ca FILE, "
    "and restart the Coreapp"
)


class Check(msgspec.Struct, frozen=True):
    """One thing that was to be proved.

    Attributes:
        name: Which.
        passed: Whether it was.
        said: What was found.
    """

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long somebody waits for a notification.

    Attributes:
        seconds: So long; 0 does not wait at all.
        clock: Tells seconds.
        sleep: Waits for some seconds.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@click.command()
@click.option(
    "--wait",
    default="0s",
    show_default=True,
    type=selection.duration,
    metavar="DURATION",
    help="How long to wait for a notification of the Coreapp's own.",
)
@output.json_option
@with_log
@with_coreapp
def test(log: EventLog, *, coreapp: Coreapp, wait: float, as_json: bool) -> None:
    """Prove that notifications arrive.

    A notification is posted from here, as the Coreapp would post it, to the callback that is set,
    and looked for in the log, where it stays as one event of type other. That proves the URL, its
    certificate, its credentials and the database; not that the Coreapp can reach it: that proves
    --wait, while somebody sends a WhatsApp message to the number. Exits 3 where one of it fails.
    """
    found = []
    for check in prove(coreapp, log, waiting=Waiting(seconds=wait)):
        found.append(check)
        if not as_json:
            word = "ok" if check.passed else "FAILED"
            output.print_text(f"{word:<8}{check.name:<10}{output.clean(check.said)}")
    if as_json:
        output.print_json({"checks": found})
    if not all(check.passed for check in found):
        raise click.exceptions.Exit(FAILED)
    if not wait:
        output.note(
            "Not proved: that the Coreapp itself reaches the callback. Add --wait 60s, and send a "
            "WhatsApp message to the number."
        )


def prove(coreapp: Coreapp, log: EventLog, *, waiting: Waiting) -> Iterator[Check]:
    """Yield one check after the other, up to the first that fails."""
    try:
        url = str(coreapp.read_settings().values.get("webhooks.url") or "")
    except RouterError as error:
        yield Check("settings", passed=False, said=str(error))
        return
    if not url:
        advice = "no callback is set: router coreapp configure --webhook-url URL"
        yield Check("settings", passed=False, said=advice)
        return
    yield Check("settings", passed=True, said=f"the callback is {mask_callback(url)}")
    after = log.head()
    body = bodies.encode({"router_test": uuid4().hex})
    checked = post(coreapp, url if "://" in url else f"https://{url}", body)
    yield checked
    if not checked.passed:
        return
    event = find(log, body, after=after)
    if event is None:
        yield Check("log", passed=False, said=f"its event is not there: {_OTHER_DATABASE}")
        return
    said = f"it is event {event.position} of source {event.source!r}"
    yield Check("log", passed=True, said=said)
    if waiting.seconds:
        yield await_arrival(log, event, body, after=after, waiting=waiting)


_OTHER_DATABASE = "is this the router's database? Name it with --config or --database"


def post(coreapp: Coreapp, url: str, body: bytes) -> Check:
    """Post ``body`` to the callback as the Coreapp would: it knows the URL, and nothing else."""
    try:
        authorities = coreapp.read_webhook_ca()
        callback = Outgoing(
            url=url,
            what="the callback",
            trusted=trust_also(authorities.decode("utf-8", "replace")) if authorities else None,
            trust_advice=UPLOAD_IT,
            secrets=find_secrets(url),
        )
        answer = callback.ask("POST", "", body=body, headers={"content-type": "application/json"})
    except RouterError as error:
        return Check("callback", passed=False, said=str(error))
    if answer.status_code == httpx2.codes.OK:
        return Check("callback", passed=True, said="a test notification is answered 200")
    quoted = callback.clean(explain(answer))
    said = f"it answers {answer.status_code}, and only 200 counts: {quoted}"
    return Check("callback", passed=False, said=said)


def find_secrets(url: str) -> tuple[str, ...]:
    """Return what a callback holds that opens it, as it stands there and as it is meant."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ()
    _, _, behind = parts.path.partition("/webhooks/")
    given = [
        url,
        parts.password or "",
        behind.partition("/")[2],
        *_QUERY_VALUE.findall(parts.query),
    ]
    if not parts.password:
        given.append(parts.username or "")
    found = {*given, *(unquote(one) for one in given)} - {""}
    return tuple(sorted(found, key=len, reverse=True))  # lest one that is within another leave some


_QUERY_VALUE = re.compile(r"=([^&]+)")


def find(log: EventLog, body: bytes, *, after: int) -> Event | None:
    """Return the event of the notification with this body."""
    for event in log.read(after=after):
        if event.notification.body == body:
            return event
    return None


def await_arrival(
    log: EventLog, tested: Event, body: bytes, *, after: int, waiting: Waiting
) -> Check:
    """Wait for a notification of the same source that is not the one from here."""
    output.note(
        f"Waiting for a notification of source {tested.source!r}, for {waiting.seconds:g} s: "
        "send a WhatsApp message to the number now."
    )
    matching = Filter(sources=(tested.source,))
    end = waiting.clock() + waiting.seconds
    while True:
        page = log.read_page(after=after, limit=PAGE, matching=matching)
        for event in page.events:
            if event.notification.body != body:
                said = f"event {event.position}, {event.type}/{event.subtype}, has arrived"
                return Check("arrival", passed=True, said=said)
        after = page.reached
        if page.is_last:
            if waiting.clock() >= end:
                break
            waiting.sleep(POLL)
    said = (
        f"none came in {waiting.seconds:g} s: can the Coreapp reach the callback, was it "
        "restarted after its CA was uploaded, and did somebody send a message?"
    )
    return Check("arrival", passed=False, said=said)
