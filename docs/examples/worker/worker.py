"""The worker: calls handlers in a process of its own, and takes no notification."""

import asyncio
import os
import signal

from handlers import crm
from router import Router

DATABASE = os.environ.get("ROUTER_DATABASE", "sqlite:///router.db")


async def main() -> None:
    """Deliver until somebody says stop; handlers under way return, and all is written down."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Router(DATABASE, plugins=[crm], receives=False):
        print("delivering", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
