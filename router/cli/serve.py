"""`router serve` and `router worker`: the long-running processes, and how they end."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence

import click
from uvicorn.loops.auto import auto_loop_factory

from router.app import Router
from router.cli import reload
from router.cli.metrics import Place, showing, with_metrics
from router.cli.settings import plugins_dir, with_config
from router.cli.tls import with_tls
from router.cli.tracing import trace, with_tracing
from router.config import Config
from router.errors import ConfigError
from router.listening import bind
from router.serving import serving
from router.tls import ServerTls

logger = logging.getLogger("router.serve")

ADVICE = """\
{where} has no [sources.NAME]. Add one, for example:

  [sources.wa]
  adapter = "whatsapp"
  app_secrets = ["env:WA_SECRET"]
  verify_token = "env:WA_TOKEN"

or see a router at work first: router demo"""


@click.command()
@click.option("--host", default="127.0.0.1", envvar="ROUTER_HOST", show_default=True)
@click.option("--port", default=8000, envvar="ROUTER_PORT", show_default=True, type=int)
@click.option("--no-worker", is_flag=True, help="Only receive; handlers run in `router worker`.")
@with_metrics
@with_tracing
@reload.option
@with_tls
@plugins_dir
@with_config
def serve(
    found: Config,
    *,
    host: str,
    port: int,
    no_worker: bool,
    metrics: Place | None,
    is_tracing: bool,
    is_reloading: bool,
    tls: ServerTls | None,
) -> None:
    """Receive notifications, and deliver their events to the plugins."""
    configure_logging()
    if is_reloading:
        reload.reload(found, *(() if port else ("--port", str(find_port(host)))))
        return
    if not found.sources:
        raise ConfigError(ADVICE.format(where=found.file or "The configuration"))
    router = Router.from_settings(found, delivers=not no_worker)
    trace(router, is_wanted=is_tracing)
    with showing(router, metrics):
        run(receive(router, host=host, port=port, tls=tls, names=list(found.sources)))


@click.command()
@with_metrics
@with_tracing
@reload.option
@plugins_dir
@with_config
def worker(found: Config, *, metrics: Place | None, is_tracing: bool, is_reloading: bool) -> None:
    """Deliver events to the plugins, without receiving any."""
    configure_logging()
    if is_reloading:
        reload.reload(found)
        return
    router = Router.from_settings(found, receives=False)
    trace(router, is_wanted=is_tracing)
    with showing(router, metrics):
        run(deliver(router))


def find_port(host: str) -> int:
    """Return a port that is free at ``host``, for several processes one after another."""
    with bind(host, 0) as listening:
        port: int = listening.getsockname()[1]
        return port


async def receive(
    router: Router, *, host: str, port: int, tls: ServerTls | None, names: Sequence[str]
) -> None:
    """Serve the router until a signal comes; its plugins are checked before the port is bound."""
    async with serving(router, host=host, port=port, tls=tls) as served:
        tune_interpreter()

        async def leave() -> None:
            # The port stays open while handlers finish: probes see 503, not a closed door.
            await router.drain()
            served.stop()

        on_signal(leave)  # after uvicorn has put its own handlers in place
        for name in names:
            logger.info("receiving at %s/webhooks/%s", served.address, name)
        await served.wait()
    logger.info("stopped")


async def deliver(router: Router) -> None:
    """Deliver until a signal comes."""
    leaving = asyncio.Event()

    async def leave() -> None:
        leaving.set()

    async with router:
        on_signal(leave)
        logger.info("delivering")
        await leaving.wait()


def on_signal(leave: Callable[[], Coroutine[None, None, None]]) -> None:
    """Drain at the first SIGTERM or Ctrl-C, end at once at the second."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []

    def handle() -> None:
        if tasks:
            logger.warning("stopped at once: what was under way will be delivered again")
            logging.shutdown()
            os._exit(1)
        logger.info("stopping: handlers may finish, for 30 s; a second signal stops at once")
        tasks.append(loop.create_task(leave()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)


def tune_interpreter() -> None:
    """Fit the interpreter to a receiver; only the command may, a library leaves it as it is.

    Measured with `benchmarks/ingest`: the slowest hundredth of the answers came after 18 ms where
    it had been 53, and the receiver took in a twentieth more.
    """
    gc.collect()
    gc.freeze()  # what is loaded by now stays, and need not be looked at again and again
    gc.set_threshold(2_000, 50, 100)  # young ones often, a millisecond each; old ones rarely
    sys.setswitchinterval(0.0005)  # seconds; the usual 5 ms is longer than a commit takes


def run(work: Coroutine[None, None, None]) -> None:
    """Run ``work`` on the loop that uvicorn prefers: uvloop, where there is one."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(work)


def configure_logging() -> None:
    """Log to stderr; only the command does so, a library leaves it to its host."""
    logging.basicConfig(
        level=os.environ.get("ROUTER_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Of a handler's requests it would log the whole URL, with what is secret in it.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
