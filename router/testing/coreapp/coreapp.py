"""A Coreapp: its settings API on a port of its own, for tests that are asynchronous or not."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Self

from router.testing.coreapp.accounts import ADMIN, LIFETIME, PASSWORD, Account, Accounts
from router.testing.coreapp.api import Api, Trust
from router.testing.coreapp.hosting import Certificate, hosting
from router.testing.coreapp.settings import ApplicationSettings, Json
from router.testing.coreapp.troubles import Troubles

VERSION = "v2.53.1"
CUSTOMER_CARE = "care"  # an account that is no admin; its password is the admin's


class Coreapp:
    """A simulated WhatsApp Business On-Premises client, in the event loop of whoever enters it.

    Args:
        host: The address at which its settings API listens.
        port: Its port; 0 takes one that is free.
        certificate: For HTTPS, as the real one demands; without it, the API speaks HTTP.
        password: Of the account ``admin``.
        settings: What differs from the defaults from the beginning, shaped as in a PATCH.
        version: What it calls itself; one before v2.41.2 knows no ``webhooks.message``.
        token_lifetime: Seconds for which a login is good.
        answers_null: Whether it confirms a change with ``null``, or with an object.
        clock: Seconds since 1970; by it, tokens expire.
        draw: Makes a token.

    Attributes:
        url: Where the API is, while it runs.
        username: The admin's.
        password: What the admin logs in with.
        settings: What was set and what is in force.
        accounts: Who may log in; ``accounts.revoke()`` makes all tokens expire.
        trust: The uploaded CA.
        troubles: Makes the API fail, for tests.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Certificate | None = None,
        password: str = PASSWORD,
        settings: Mapping[str, object] | None = None,
        version: str = VERSION,
        token_lifetime: float = LIFETIME,
        answers_null: bool = False,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self.url = ""
        self.username, self.password = ADMIN, password
        self.settings = ApplicationSettings(version=version, changes=settings)
        self.accounts = Accounts(
            {ADMIN: Account(password, is_admin=True), CUSTOMER_CARE: Account(password)},
            lifetime=token_lifetime,
            clock=clock,
            draw=draw,
        )
        self.trust = Trust()
        self.troubles = Troubles()
        self._api = Api(self.settings, self.accounts, self.trust, answers_null=answers_null)
        self._listening = (host, port, certificate)
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        host, port, certificate = self._listening
        app = self.troubles.wrap(self._api.make_app())
        self.url = await self._running.enter_async_context(
            hosting(app, host=host, port=port, certificate=certificate)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._running.aclose()

    @property
    def application(self) -> Json:
        """The settings, as a GET tells them."""
        return self.settings.read()

    def restart(self) -> None:
        """Restart: what has waited for it is in force from now on.

        The real one is restarted by whoever runs its container; no request does it.
        """
        self.settings.restart()
        self.trust.restart()


@contextmanager
def running_coreapp(**arguments: Any) -> Iterator[Coreapp]:  # noqa: ANN401  # those of `Coreapp`
    """Run a `Coreapp` in a thread while the block lasts, for tests that are not asynchronous.

    Args:
        **arguments: Those of `Coreapp`.

    Raises:
        RouterError: It cannot start.
    """
    started: Future[Coreapp] = Future()
    leaving: Future[None] = Future()

    async def work() -> None:
        async with Coreapp(**arguments) as coreapp:
            started.set_result(coreapp)
            await asyncio.wrap_future(leaving)

    with ThreadPoolExecutor(1, thread_name_prefix="coreapp") as threads:
        running = threads.submit(lambda: asyncio.run(work()))
        either: tuple[Future[Any], ...] = (started, running)
        try:
            wait(either, return_when=FIRST_COMPLETED)
            if running.done():
                running.result()  # raises why it could not start
            yield started.result()
        finally:
            leaving.set_result(None)
            running.result()
