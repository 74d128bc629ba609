"""The service that the story is played to: served by a thread, while the main one plays."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from uvicorn.loops.auto import auto_loop_factory

from router.app import Router
from router.serving import serving


@contextmanager
def running(router: Router) -> Iterator[str]:
    """Serve ``router`` on a free port of the loopback interface while the block lasts.

    Yields:
        Its address, the beginning of a URL.

    Raises:
        RouterError: It cannot start.
    """
    address: Future[str] = Future()
    leaving: Future[None] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="router-demo") as threads:
        work = threads.submit(_run, router, address, leaving)
        either: tuple[Future[Any], ...] = (address, work)
        try:
            wait(either, return_when=FIRST_COMPLETED)
            if work.done():
                work.result()  # raises why it could not start
            yield address.result()
        finally:
            leaving.set_result(None)
            work.result()


def _run(router: Router, address: Future[str], leaving: Future[None]) -> None:
    async def work() -> None:
        async with serving(router, host="127.0.0.1", port=0) as served:
            address.set_result(served.address)
            await asyncio.wrap_future(leaving)

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(work())
