"""Tests of `router.routes`: plugins add routes beside the webhooks."""

from collections.abc import Sequence

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from router import Router, hookimpl
from router.errors import PluginError
from router.routes import check_routes
from tests.loops import in_loop
from tests.posting import ask

# One engine is enough: nothing of it is in the database.
pytestmark = pytest.mark.engines("sqlite")

NUMBER = "+15550100"


async def answer(request: Request) -> Response:
    """Say what was asked for."""
    return PlainTextResponse(f"{request.method} {request.url.path}")


async def fail(_request: Request) -> Response:
    """Fail, with what nobody is to see."""
    raise ValueError(NUMBER)


async def listen(socket: WebSocket) -> None:
    """Say one word."""
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


class Pages:
    """A plugin with pages.

    Attributes:
        plugin_name: Its name.
    """

    def __init__(self, name: str = "crm", paths: Sequence[str] = ("/", "/customers/{id}")) -> None:
        self.plugin_name = name
        self._routes = [Route(path, answer) for path in paths]

    @hookimpl
    def routes(self) -> Sequence[object]:
        """Serve them."""
        return [*self._routes, Route("/fail", fail), WebSocketRoute("/", listen)]


@in_loop
async def test_the_pages_of_plugins_are_beside_the_webhooks(database: str) -> None:
    """Each plugin has a place of its own, whose paths hide nobody else's."""
    plugins = [Pages(), Pages("audit", ["/", "/livez"])]
    async with Router(database, plugins=plugins) as router:
        app = router.asgi()
        page = await ask(app, "/plugins/crm/customers/7", method="GET")
        assert (page.status, page.body) == (200, b"GET /plugins/crm/customers/7")
        theirs = await ask(app, "/plugins/audit/livez", method="GET")
        assert theirs.body == b"GET /plugins/audit/livez"
        assert (await ask(app, "/livez", method="GET")).body == b"alive\n"
        for path in ("/plugins/crm/livez", "/plugins/none/", "/plugins/"):
            assert (await ask(app, path, method="GET")).problem["status"] == 404


@in_loop
async def test_pages_are_where_the_router_is_mounted(database: str) -> None:
    """In an application around it they are beneath its place, as the webhooks are."""
    router = Router(database, plugins=[Pages()])
    app = Starlette(routes=[Mount("/x", router.asgi())])
    async with router:
        page = await ask(app, "/x/plugins/crm/customers/7", method="GET")
        assert (page.status, page.body) == (200, b"GET /x/plugins/crm/customers/7")
        assert (await ask(app, "/plugins/crm/", method="GET")).status == 404


@in_loop
async def test_a_page_that_fails_tells_a_stranger_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered 500, the log says where but not what, and the router goes on."""
    async with Router(database, plugins=[Pages()]) as router:
        failed = await ask(router.asgi(), "/plugins/crm/fail", method="GET")
        assert (failed.problem["status"], NUMBER.encode() in failed.body) == (500, False)
        assert ("fail" in caplog.text, NUMBER in caplog.text) == (True, False)
        assert (await ask(router.asgi(), "/plugins/crm/", method="GET")).status == 200


@in_loop
async def test_pages_wait_for_their_plugin(database: str) -> None:
    """Before `on_start`, and once the router is told to stop, the answer is 503 with the reason."""
    router = Router(database, plugins=[Pages()])
    app = router.asgi()

    early = await ask(app, "/plugins/crm/", method="GET")
    assert "router.lifespan" in early.problem["detail"]
    assert early.status == 503
    async with router:
        assert (await ask(app, "/plugins/crm/", method="GET")).status == 200
        await router.drain()
        late = await ask(app, "/plugins/crm/", method="GET")
        assert (late.status, late.problem["detail"]) == (503, "the router is stopping")


@in_loop
async def test_so_do_web_sockets(database: str) -> None:
    """One is closed at once before the plugin is started, and opened after that."""
    router = Router(database, plugins=[Pages()])
    app = router.asgi()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/plugins/crm/", "headers": [], "query_string": b""}
    await app({**scope}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1013}]
    async with router:
        await app({**scope}, receive, send)
    assert [message.get("text") for message in sent if message["type"] == "websocket.send"] == [
        "hello"
    ]


@in_loop
async def test_a_plugin_that_does_not_run_serves_nothing(database: str) -> None:
    """Its pages are as if they were not there."""
    plugin = Pages()
    async with Router(database) as router:
        assert plugin.routes()
        assert (await ask(router.asgi(), "/plugins/crm/", method="GET")).status == 404


@pytest.mark.parametrize(
    ("routes", "reason"),
    [
        ([answer], "must return routes of Starlette"),
        ([Route("/", answer), Route("/", fail)], "take the same requests"),
        ([Route("/", answer), Route("/", fail, methods=["GET", "POST"])], "take the same requests"),
        ([Mount("/a", routes=[]), Mount("/a", routes=[])], "take the same requests"),
    ],
)
def test_routes_that_cannot_be_served_are_refused(routes: Sequence[object], reason: str) -> None:
    """What is no route, and what would hide another, is an error that names the plugin."""
    with pytest.raises(PluginError, match=reason) as raised:
        check_routes("crm", routes)
    assert raised.value.plugin == "crm"


def test_routes_may_share_a_path() -> None:
    """Those of other methods, and web sockets, take other requests."""
    routes = [
        Route("/", answer, methods=["GET"]),
        Route("/", answer, methods=["POST"]),
        WebSocketRoute("/", listen),
    ]
    assert check_routes("crm", routes) == tuple(routes)


@pytest.mark.parametrize("name", ["a/b", "{name}", "..", "a b", "ü"])
def test_a_name_that_fits_no_url_serves_nothing(name: str) -> None:
    """Such a plugin may do anything but have routes."""
    assert check_routes(name, []) == ()
    with pytest.raises(PluginError, match="cannot be part of a URL"):
        check_routes(name, [Route("/", answer)])
