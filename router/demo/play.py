"""The demo from beginning to end: the story is told, replayed and summed up."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
from rich.text import Text

from router import config, migrate
from router.demo.closing import say_what_next, say_where
from router.demo.past import add_latecomer, replay
from router.demo.scene import Scene
from router.demo.service import running
from router.demo.stage import PATIENCE, Stage
from router.demo.story import COUNTER, ONLINE, make_story
from router.demo.summary import sum_up
from router.demo.telling import Telling
from router.host import Host
from router.log import EventLog
from router.store import Store

TIMEOUT = 10.0  # seconds for an answer over HTTP


def play(
    settings: Path,
    scene: Scene,
    *,
    command: str = "router",
    keep: bool = False,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.time,
) -> None:
    """Play the demo in a project.

    Args:
        settings: The project's `router.toml`.
        scene: Where it is shown.
        command: How `router` is called here.
        keep: Whether to go on serving in the end, until Ctrl-C.
        patience: Seconds to wait for what must happen.
        clock: Seconds since 1970.

    Raises:
        RouterError: Something cannot be done, or what must happen does not.
    """
    # Nothing of the environment: a demo must never find its way into somebody's real database.
    found = config.load(settings, environ={}, working=settings.parent, overrides={})
    store = Store(found.database, create=True)
    try:
        migrate.upgrade(store.engine, store.tables)
        stage = Stage(
            folder=settings.parent,
            config=found,
            log=EventLog(store),
            scene=scene,
            patience=patience,
        )
        telling = _tell(stage, now=int(clock()))
        add_latecomer(stage)
        with running(stage.make_router()) as address:
            replay(stage)
            sum_up(stage, known=telling.known, refused=telling.refused)
            say_what_next(scene, command=command, is_kept=keep)
            if keep:
                say_where(scene, address=address, settings=settings, command=command)
                _wait_for_ctrl_c()
        scene.line()
    finally:
        store.close()


def _tell(stage: Stage, *, now: int) -> Telling:
    router = stage.make_router()
    with (
        running(router) as address,
        # No proxy of the environment's may stand between us and the loopback interface.
        httpx2.Client(base_url=address, timeout=TIMEOUT, trust_env=False) as http,
    ):
        _introduce(stage, address=address, host=router.host)
        telling = Telling(stage, host=router.host, http=http)
        telling.tell(make_story(now=now))
    return telling


def _introduce(stage: Stage, *, address: str, host: Host) -> None:
    scene = stage.scene
    scene.heading("A router at work")
    scene.say(
        "A tea shop is on WhatsApp with two numbers. A router was started for it just now, on this "
        "machine: it keeps each notification in an SQL log, answers 200, and hands the events "
        "inside to plugins. Nothing is staged. The requests go over HTTP, and behind each arrow "
        "stands what a plugin noted when it was called."
    )
    scene.line()
    plugins = [(f"handlers/{one.name}.py", ", ".join(one.handlers)) for one in host.subscribers()]
    scene.columns(
        [
            ["On-Premises", Text(f"{address}/webhooks/{COUNTER}", "bold")],
            ["Cloud", Text(f"{address}/webhooks/{ONLINE}", "bold")],
            ["project", str(stage.folder)],
            *plugins,
        ]
    )
    scene.pause(0.6)


def _wait_for_ctrl_c() -> None:
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
