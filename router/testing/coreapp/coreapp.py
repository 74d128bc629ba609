"""A Coreapp: its settings API, and the notifications that it sends to the configured callback."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from router.testing.coreapp.accounts import ADMIN, LIFETIME, PASSWORD, Account, Accounts
from router.testing.coreapp.api import Api, Trust
from router.testing.coreapp.courier import Courier
from router.testing.coreapp.hosting import hosting
from router.testing.coreapp.ledger import Ledger
from router.testing.coreapp.outbox import Outbox
from router.testing.coreapp.playing import play, settle
from router.testing.coreapp.routes import Rules
from router.testing.coreapp.settings import ApplicationSettings, Json
from router.testing.coreapp.troubles import Troubles
from router.testing.shop.facts import Posting
from router.testing.shop.shop import Shop
from router.tls import ServerTls

VERSION = "v2.53.1"
CARE = "care"  # an account that is no admin; its password is the admin's


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
        shop: Makes its traffic; default: an On-Premises shop of seed 0.
        rules: How it sends, apart from its settings.
        ledger: Where what it sends is entered.
        folder: Where it keeps, with ``callback_persist``, what is not acknowledged; default: a
            temporary one, which goes with it.
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
        ledger: What was sent, and what became of it.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: ServerTls | None = None,
        password: str = PASSWORD,
        settings: Mapping[str, object] | None = None,
        version: str = VERSION,
        token_lifetime: float = LIFETIME,
        answers_null: bool = False,
        shop: Shop | None = None,
        rules: Rules | None = None,
        ledger: Ledger | None = None,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self.url = ""
        self.username, self.password = ADMIN, password
        self.settings = ApplicationSettings(version=version, changes=settings)
        self.accounts = Accounts(
            {ADMIN: Account(password, is_admin=True), CARE: Account(password)},
            lifetime=token_lifetime,
            clock=clock,
            draw=draw,
        )
        self.trust = Trust()
        self.troubles = Troubles()
        self.ledger = ledger or Ledger()
        self._api = Api(self.settings, self.accounts, self.trust, answers_null=answers_null)
        self._listening = (host, port, certificate)
        self._shop = shop or Shop(shape="onprem")
        self._rules = rules or Rules()
        self._folder = folder
        self._running = AsyncExitStack()
        self._courier: Courier | None = None
        self._drawn: Iterator[Posting] = iter(())
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            outbox = self._open_outbox(stack)
            self._courier = self._make_courier(outbox)
            stack.callback(self.ledger.close)
            stack.callback(self._courier.close)
            host, port, certificate = self._listening
            app = self.troubles.wrap(self._api.make_app())
            self.url = await stack.enter_async_context(
                hosting(app, host=host, port=port, certificate=certificate)
            )
            self._drawn = self._shop.draw(self._find_statuses, first=outbox.find_last() + 1)
            self._loop = asyncio.get_running_loop()
            self._courier.restart()  # goes on with what a process before this one has left
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._running.aclose()
        await asyncio.sleep(0)  # for the connections that were broken off

    @property
    def application(self) -> Json:
        """The settings, as a GET tells them."""
        return self.settings.read()

    @property
    def courier(self) -> Courier:
        """What sends, while it runs."""
        if self._courier is None:
            raise RuntimeError("the Coreapp does not run: enter it first")
        return self._courier

    def restart(self) -> None:
        """Restart: what has waited for it is in force from now on.

        Requests under way are broken off. With ``callback_persist`` in force, what is not
        acknowledged is read from the disk and sent again; without it, that is lost, as the ledger
        says. The real one is restarted by whoever runs its container; no request does it.
        """
        self.settings.restart()
        self.trust.restart()
        self.courier.restart()

    async def play(
        self, *, rate: float, seconds: float | None = None, most: int | None = None
    ) -> None:
        """Let the shop's traffic flow; returns when all of it is submitted.

        Args:
            rate: Notifications a second.
            seconds: For how long; None means without end.
            most: How many; likewise.
        """
        await play(self._drawn, self.courier, rate=rate, seconds=seconds, most=most)

    def submit(self, count: int = 1) -> None:
        """Send the shop's next notifications at once."""
        for _ in range(count):
            self.courier.submit(next(self._drawn))

    async def settle(self, *, seconds: float = 30.0) -> None:
        """Wait until everything is acknowledged or given up, but no longer than ``seconds``."""
        await settle(self.courier, seconds=seconds)

    def _open_outbox(self, stack: AsyncExitStack) -> Outbox:
        folder = self._folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coreapp-")))
        folder.mkdir(parents=True, exist_ok=True)
        outbox = Outbox(folder / "callbacks.db")
        stack.callback(outbox.close)
        return outbox

    def _make_courier(self, outbox: Outbox) -> Courier:
        return Courier(
            self.ledger,
            find_callback=self.settings.in_force,
            find_ca=lambda: self.trust.in_force,
            rules=self._rules,
            outbox=outbox,
        )

    def _find_statuses(self) -> frozenset[str]:
        return self.settings.in_force().statuses
