"""What the acts of the demo share: the project, its log, and how they wait for things."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from router.app import Router
from router.config import Config
from router.demo.scene import Scene
from router.errors import RouterError
from router.log import EventLog
from router.status import Status

T = TypeVar("T")

PATIENCE = 10.0  # seconds that anything may take
GLANCE = 0.01  # seconds between two looks at what is awaited


class DemoFailed(RouterError):
    """Something in the demo did not happen as it must; says what was awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where an act is played.

    Attributes:
        folder: The project's.
        config: What its `router.toml` says.
        log: Its log, to read from.
        scene: Where it is shown.
        patience: Seconds to wait for what must happen.
        monotonic: Seconds, to measure patience.
        sleep: Waits for some seconds.
    """

    folder: Path
    config: Config
    log: EventLog
    scene: Scene
    patience: float = PATIENCE
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def make_router(self) -> Router:
        """Return a router with the plugins that are in the project by now."""
        return Router.from_settings(self.config)

    def wait(self, look: Callable[[], T | None], *, awaited: str) -> T:
        """Return what ``look`` finds, as soon as it finds something.

        Raises:
            DemoFailed: It finds nothing in time; ``awaited`` is what the message names.
        """
        end = self.monotonic() + self.patience
        while (found := look()) is None:
            if self.monotonic() > end:
                reason = self._find_reason()
                raise DemoFailed(f"waited {self.patience:g} s in vain for {awaited}{reason}")
            self.sleep(GLANCE)
        return found

    def _find_reason(self) -> str:
        """What went wrong in handlers, as far as it is on record."""
        failing = [one for one in Status(self.log.store).subscriptions() if one.last_error]
        return "".join(f"; {one.name} failed with {one.last_error}" for one in failing)
