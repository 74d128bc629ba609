"""The plugins of a test: given as modules, objects or files, under their own name or another."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

from router import Router
from router.assembly import make_subscriptions
from router.clock import Clock
from router.errors import RouterError
from router.host import Host
from router.loading import find_objects, import_file
from router.log import EventLog
from router.options import explain_unknown
from router.roster import Roster
from router.subscriptions import Subscription
from router.testing.harness.calls import Calls
from router.testing.harness.logs import hurry

Tables = dict[str, Mapping[str, object]]  # of settings, by plugin


class Plugins:
    """What a test has given so far, and the router that delivers to it.

    Args:
        url: Of the database.
        log: On that database.
        clock: What the router goes by.
        calls: Where calls of handlers are written down.

    Attributes:
        subscriptions: Of those that handle events, by name.
    """

    def __init__(self, url: str, *, log: EventLog, clock: Clock, calls: Calls) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self._url = url
        self._log = log
        self._clock = clock
        self._calls = calls
        self._held: dict[str, object] = {}
        self._settings: Tables = {}
        self._options: Tables = {}
        self._router: Router | None = None

    @property
    def router(self) -> Router:
        """The router that delivers to them.

        Raises:
            RouterError: There is none yet.
        """
        if self._router is None:
            raise RouterError("there is no plugin yet: call harness.use(plugin) first")
        return self._router

    def add(
        self,
        plugin: object,
        *,
        name: str | None,
        settings: Mapping[str, object],
        options: Mapping[str, object],
    ) -> str:
        """Take a plugin, bring its subscription into being, and return its name; see `Harness`."""
        name, bearer = _take(plugin, name=name)
        if name in self._held:
            raise RouterError(f"a plugin {name!r} is used already: give this one another name=")
        held = {**self._held, name: bearer}
        all_settings: Tables = {**self._settings, name: settings}
        all_options: Tables = {**self._options, name: options}
        host = Host.load(plugins=list(held.values()), configured=all_settings, entry_points=())
        host.require_sound()
        host.plugins[:] = self._calls.watch(host.plugins)
        router = Router(
            self._url, plugins=host, subscriptions=all_options, clock=self._clock, receives=False
        )
        hurry(router.log.store)
        router.create_tables()
        router.log.store.close()
        self._declare(make_subscriptions(host, all_options))
        self._held, self._settings, self._options = held, all_settings, all_options
        self._router = router
        return name

    def close(self) -> None:
        """Let go of the database; whoever asks the router for something opens it again."""
        if self._router is not None:
            self._router.log.store.close()

    def choose(self, name: str | None) -> str:
        """Return ``name`` if a plugin of that name handles events; None stands for the only one.

        Raises:
            RouterError: There is none, or there are several.
        """
        known = self.subscriptions
        if name is None and len(known) == 1:
            return next(iter(known))
        if name is None:
            told = ", ".join(known) or "none"
            raise RouterError(f"say which plugin is meant; those that handle events: {told}")
        if name not in known:
            raise RouterError(f"the plugin {name!r} {explain_unknown(name, known)}")
        return name

    def _declare(self, subscriptions: list[Subscription]) -> None:
        """Bring subscriptions into being now, not when the first worker starts."""
        roster = Roster(self._log.store, pid=0)
        for one in subscriptions:
            roster.declare(one.name, one.policies, one.options)
            self.subscriptions[one.name] = one
        self._log.store.close()  # with the thread that writing has started


def _take(plugin: object, *, name: str | None) -> tuple[str, object]:
    """Return a plugin's name, and what bears its hooks; a path is that of a single file."""
    if isinstance(plugin, Path | str):
        path = Path(plugin)
        module = import_file(path)
        vars(module).setdefault("plugin_name", path.stem)
        plugin = module
    if name is None:
        (found,) = find_objects([plugin])
        return found.name, plugin
    return name, _rename(plugin, name)


def _rename(plugin: object, name: str) -> object:
    """Return what bears the same hooks under another name; the plugin itself stays as it is."""
    held = vars(plugin) if isinstance(plugin, ModuleType) else dir(plugin)
    public = [key for key in held if not key.startswith("__") and key != "plugin_name"]
    return SimpleNamespace(plugin_name=name, **{key: getattr(plugin, key) for key in public})
