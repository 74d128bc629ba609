"""The framework pywa with one handler that does nothing, and nothing stored."""

from pywa_async.client import WhatsApp
from pywa_async.handlers import MessageHandler

from benchmarks.baselines.endpoints import ROUTE


def serve_pywa(secret: str, *, port: int) -> None:
    """Serve as its documentation shows; uvicorn takes uvloop and httptools where they are."""
    client = WhatsApp(
        phone_id="550066007700880",
        token="unused",  # noqa: S106  # nothing is sent
        webhook_endpoint=ROUTE,
        verify_token="unused",  # noqa: S106
        app_secret=secret or None,
        validate_updates=bool(secret),
    )

    async def receive(_client: object, _message: object) -> None:
        pass

    client.add_handlers(MessageHandler(receive))
    client.run(port=port, log_level="warning")
