"""A Starlette application with the router mounted at /notify, as router.toml describes it."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from router import Router

router = Router.from_config()


def list_events(_request: Request) -> JSONResponse:
    """Show the newest events; a plain `def`, since reading the log waits for the database."""
    newest = router.log.read(after=router.log.head() - 10)
    return JSONResponse([f"{event.position} {event.type} {event.subject}" for event in newest])


app = Starlette(
    routes=[Route("/events", list_events), Mount("/notify", app=router.asgi())],
    lifespan=router.lifespan,  # a mounted application's own never runs
)
