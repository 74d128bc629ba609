"""A simulation while it runs: its traffic, what is told of it meanwhile, and how it ends."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click

from router.cli import output
from router.cli.serve import tune_interpreter
from router.errors import RouterError
from router.testing.coreapp.connections import connect, explain
from router.testing.coreapp.coreapp import Coreapp
from router.testing.coreapp.courier import Courier
from router.testing.coreapp.endpoint import make_context, read_url
from router.testing.coreapp.ledger import Ledger, Summary
from router.testing.coreapp.playing import play, settle
from router.testing.coreapp.routes import Rules
from router.testing.coreapp.settings import Callback
from router.testing.shop.shop import STATUSES, Shop

PATIENCE = 5.0  # seconds for the last answers, once somebody wants it to end
_BACKOFF, _LONGEST = 3.0, 900.0  # seconds; the defaults of a Coreapp
_GLANCE = 0.1  # seconds between two looks for a callback URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How much traffic there is.

    Attributes:
        rate: Notifications a second.
        seconds: For how long; None means until Ctrl-C.
        most: How many; None means no limit.
        grace: Seconds that the last ones may take.
    """

    rate: float
    seconds: float | None
    most: int | None
    grace: float


class Ending:
    """Somebody's wish that it end: a first signal ends the traffic, a second the waiting, too."""

    def __init__(self) -> None:
        self._signals = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Take SIGINT, SIGTERM, and SIGHUP unless `nohup` wants that ignored, from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self.wish)

    def wish(self) -> None:
        """End what runs now."""
        self._signals += 1
        for task in self._tasks:
            task.cancel()

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` to its end, or to the next signal."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def settle(self, courier: Courier, *, grace: float) -> None:
        """Wait for the last answers, shorter where somebody wants it to end."""
        seconds = min(grace, PATIENCE) if self._signals else grace
        await self.wait(settle(courier, seconds=seconds))

    async def wait(self, work: Coroutine[None, None, None]) -> None:
        """Run what the end waits for, unless a second signal came."""
        if self._signals > 1:
            work.close()
        else:
            await self.run(work)


async def load(
    shop: Shop,
    url: str,
    traffic: Traffic,
    *,
    rules: Rules,
    connections: int,
    ledger: Ledger,
    headers: dict[str, str],
    extra_ca: str = "",
) -> None:
    """Send the shop's traffic to ``url``.

    Raises:
        RouterError: Nothing answers there, or nobody trusts what does.
    """
    await _require_somebody(url, extra_ca, timeout=rules.timeout)
    tune_interpreter()
    callback = Callback(
        url=url,
        statuses=STATUSES,
        persist=False,
        concurrency=connections,
        backoff=_BACKOFF,
        longest=_LONGEST,
    )
    courier = Courier(
        ledger,
        find_callback=lambda: callback,
        find_ca=lambda: extra_ca,
        rules=rules,
        headers=headers,
    )
    ending = Ending()
    ending.listen()
    try:
        async with telling(ledger):
            flow = play(
                shop.draw(),
                courier,
                rate=traffic.rate,
                seconds=traffic.seconds,
                most=traffic.most,
            )
            await ending.run(flow)
            await ending.settle(courier, grace=traffic.grace)
    finally:
        courier.close()
        ledger.close()
        await asyncio.sleep(0)  # for the connections that were broken off


async def host(coreapp: Coreapp, traffic: Traffic, *, tell: Callable[[Coreapp], None]) -> None:
    """Run a Coreapp; its traffic flows once a callback URL is set. SIGUSR1 restarts it.

    Args:
        coreapp: The Coreapp.
        traffic: Its traffic.
        tell: Is called once it listens.

    Raises:
        RouterError: It cannot start.
    """
    ending = Ending()
    async with coreapp:
        ending.listen()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, coreapp.restart)
        tell(coreapp)
        async with telling(coreapp.ledger):
            await ending.run(_play_once_set(coreapp, traffic))
            await ending.settle(coreapp.courier, grace=traffic.grace)


async def _play_once_set(coreapp: Coreapp, traffic: Traffic) -> None:
    while not coreapp.settings.in_force().url:
        await asyncio.sleep(_GLANCE)
    await coreapp.play(rate=traffic.rate, seconds=traffic.seconds, most=traffic.most)


async def _require_somebody(url: str, extra_ca: str, *, timeout: float) -> None:
    """Check that a connection can be made, before traffic is made for it."""
    endpoint = read_url(url)
    context = make_context(extra_ca) if endpoint.is_tls else None
    try:
        found = await connect(endpoint, lambda *_: None, context=context, timeout=timeout)
    except (OSError, ValueError) as error:
        place = f"{endpoint.host} port {endpoint.port}"
        raise RouterError(
            f"no connection to {place}: {explain(error)}; start the receiver, name another URL"
            " with --to, or give what signed its certificate with --ca"
        ) from error
    found.abort()


@asynccontextmanager
async def telling(ledger: Ledger) -> AsyncIterator[None]:
    """Tell on stderr, each second, how far it is, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    task = asyncio.ensure_future(_tell(ledger))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        click.echo("", err=True)


async def _tell(ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(1)
        known = ledger.count()
        line = (
            f"{known.sent:,} sent, {known.acknowledged:,} acknowledged, {known.waiting:,} waiting"
        )
        click.echo(f"\r{line:<70}", err=True, nl=False)


def print_summary(summary: Summary, *, seed: int, as_json: bool) -> None:
    """Print a ledger's figures.

    Args:
        summary: The figures.
        seed: What makes the same traffic again.
        as_json: Whether a program reads them.
    """
    latency = summary.latency_ms
    if as_json:
        found = {name: getattr(summary, name) for name in summary.__struct_fields__}
        output.print_json({"seed": seed, **found})
        return
    figures = [latency.p50, latency.p99, latency.max]
    shown = ["-" if value is None else f"{value:g} ms" for value in figures]
    output.print_fields(
        {
            "notifications": f"{summary.notifications}, {summary.copies} of them copies",
            "events": summary.events,
            "acknowledged": summary.acknowledged,
            "waiting": summary.waiting,
            "expired": summary.expired,
            "lost": summary.lost,
            "attempts": f"{summary.attempts}; {summary.retried} notifications took several",
            "failures": list_failures(summary),
            "latency": f"p50 {shown[0]}, p99 {shown[1]}, max {shown[2]}",
            "behind": f"{summary.behind_ms:g} ms at most",
            "bytes": summary.bytes,
            "digest": summary.digest,
            "seed": seed,
        }
    )


def list_failures(summary: Summary) -> list[str]:
    """Return why attempts failed, each reason with how often."""
    return [f"{reason}: {times}" for reason, times in summary.failures.items()]


_CREDENTIALS = "what proves the origin: --secret, or --user, --token or what is in the URL"
_CHECKS = {
    "answered 401": _CREDENTIALS,
    "answered 403": _CREDENTIALS,
    "answered 404": "the URL's path: a router receives at /webhooks/NAME, as in [sources.NAME]",
}


def advise(summary: Summary) -> str:
    """Return what to check where the receiver took nothing, always for the same sort of reason."""
    reason = next(iter(summary.failures), "")  # the most frequent
    if summary.acknowledged or not reason or not summary.failures.keys() <= _CHECKS.keys():
        return ""
    return f"Nothing was acknowledged, {reason}: check {_CHECKS[reason]}"
