"""What runs beside a test of processes, and how it waits for them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 300  # that anything may take: far more than it needs


@contextmanager
def beside(work: Callable[[], object], stopped: threading.Event) -> Iterator[None]:
    """Do ``work`` on a thread while the block lasts; it ends when ``stopped`` is set."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def wait(condition: Callable[[], object], *, seconds: float = SECONDS) -> float:
    """Wait until ``condition`` holds; return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"{condition} did not come true"
        time.sleep(0.02)
    return time.monotonic() - began
