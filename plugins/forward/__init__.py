"""Hands events on to an internal HTTP service, as signed CloudEvents.

One target is one plugin with a subscription of its own, so that a service which is down holds up no
other. This one is set in ``[plugins.forward]``; each further target is a file in ``plugins_dir``::

    from router.plugins.forward import on_event, on_start, settings, subscription_options

which is set in ``[plugins.NAME]`` by the name of the file.
"""

import asyncio
import time
from functools import partial

from router import AsyncContext, Event, Retry, hookimpl
from router.control import Control
from router.masks import mask_callback
from router.plugins.forward.answers import GONE, REDIRECTIONS, read_retry_after
from router.plugins.forward.cloudevents import MEDIA_TYPE, encode
from router.plugins.forward.signing import sign
from router.plugins.forward.target import Settings

MOST_READ = 65_536  # bytes of an answer that are read, so that its connection serves again

__all__ = ["on_event", "on_start", "settings", "subscription_options"]


@hookimpl
def settings() -> type:
    """Say of which type the settings are."""
    return Settings


@hookimpl
def subscription_options() -> dict[str, object]:
    """Say that it can be tried on history: `router replay start --shadow`."""
    return {"calls_out": "context.http"}


@hookimpl
def on_start(settings: Settings) -> None:
    """Refuse to start with a URL that is none, or without a secret."""
    settings.require_sound()


@hookimpl
async def on_event(event: Event, context: AsyncContext) -> None:
    """Hand the event on, if it is one of those that are wanted.

    Raises:
        Retry: The service did not take it.
        OutOfReach: The service is at an address that handlers may not reach.
        httpx2.HTTPError: The service was not reached, or gave no answer in time.
    """
    target: Settings = context.settings
    if target.wants(event):
        status, retry_after = await _post(event, context, target)
        if not 200 <= status < 300:
            await _refuse(status, retry_after, context, target)


async def _post(event: Event, context: AsyncContext, target: Settings) -> tuple[int, str]:
    """Return the status of the answer, and its ``Retry-After``."""
    body = encode(event, origin=target.origin, prefix=target.type_prefix)
    signed = sign(body, id=event.id, timestamp=int(time.time()), keys=target.keys)
    headers = {"content-type": MEDIA_TYPE, "accept-encoding": "identity", **signed}
    async with context.http.stream("POST", target.url, content=body, headers=headers) as answer:
        read = 0
        async for part in answer.aiter_raw():
            read += len(part)
            if read > MOST_READ:
                break
        return answer.status_code, answer.headers.get("retry-after", "")


async def _refuse(status: int, retry_after: str, context: AsyncContext, target: Settings) -> None:
    """Say what an answer that is no success means."""
    said = f"{mask_callback(target.url)} answered {status}"
    if status == GONE:
        control = Control(context.log.store)
        reason = f"{said} Gone: it wants no more events"
        pause = partial(control.pause, context.subscription, actor="forward", reason=reason)
        await asyncio.to_thread(pause)
        raise Retry(f"{reason}; the subscription is paused")
    if status in REDIRECTIONS:
        raise Retry(f"{said}: redirections are not followed, mend the url")
    raise Retry(said, after=read_retry_after(status, retry_after, now=time.time()))
