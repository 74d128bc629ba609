"""The plugins of one router: loaded, checked, and called one at a time."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import pluggy
from sqlalchemy import MetaData

from router import hookspecs, plugin_tables
from router.declarations import Declarations, read_declarations
from router.errors import PluginError, RouterError
from router.events import EventType
from router.faults import find_faults
from router.handlers import Handler, Implementation, make_handlers, make_implementation
from router.loading import (
    BrokenPlugin,
    Candidate,
    explain,
    find_entry_points,
    find_files,
    find_objects,
    load,
)
from router.plugin_settings import PluginSettings
from router.schema import Tables, make_tables
from router.sources import Adapter
from router.threads import Threads

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

Configured = Mapping[str, Mapping[str, object]]

ALERTS = 4  # calls of one plugin's plain alerts at a time


class Plugin(msgspec.Struct, frozen=True, eq=False):
    """A plugin that can be used.

    Attributes:
        name: Its name, which is also its subscription's.
        origin: Where it comes from, for people.
        distribution: The name of the distribution that installed it; empty for files and code.
        version: That distribution's version.
        module: The module or object that bears its hooks.
        is_enabled: Whether it runs. A plugin that comes with the router and is not asked for does
            not: it only offers its adapters.
        hooks: Its implementations by the hook's name.
        handlers: What it does with each type of event that it handles.
        declared: What it says about itself.
        threads: Where its plain alerts are called: one that hangs takes none from another plugin.
    """

    name: str
    origin: str
    distribution: str
    version: str
    module: object
    is_enabled: bool
    hooks: Mapping[str, Implementation]
    handlers: Mapping[EventType, Handler]
    declared: Declarations
    threads: Threads

    @property
    def is_transactional(self) -> bool:
        """Whether its events are handled in the transaction in which they are settled."""
        return any(handler.is_transactional for handler in self.handlers.values())

    async def call(self, hook: str, **given: object) -> object:
        """Call its implementation of ``hook``, on a thread where it is a plain ``def``.

        Returns:
            What it returns; None where it has no such hook.
        """
        found = self.hooks.get(hook)
        if found is None:
            return None
        if found.is_async:
            return await found.call(given)  # type: ignore[misc]  # an async def gives an awaitable
        return await asyncio.to_thread(found.call, given)

    async def alert(self, hook: str, **given: object) -> None:
        """Call its implementation of ``hook`` likewise, on a thread that keeps no process alive."""
        found = self.hooks.get(hook)
        if found is not None and not found.is_async:
            call = partial(copy_context().run, found.call, given)
            await asyncio.get_running_loop().run_in_executor(self.threads, call)
        else:
            await self.call(hook, **given)


class Host:
    """The plugins of one router, on a pluggy manager of their own.

    Args:
        settings: What the settings say about plugins.
        own: The router's own tables, whose names are taken.

    Attributes:
        manager: Knows the hooks and every plugin that can be used, for tracing.
        plugins: Those that can be used, enabled or not.
        broken: Those that cannot.
        disabled: The names of those that the configuration turns off.
    """

    def __init__(self, *, settings: PluginSettings, own: Tables) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.broken: list[BrokenPlugin] = []
        self.disabled: list[str] = []
        self._settings = settings
        self._own = own

    @classmethod
    def load(
        cls,
        *,
        directories: Sequence[Path] = (),
        plugins: Sequence[object] = (),
        configured: Configured | PluginSettings | None = None,
        entry_points: Iterable[EntryPoint] | None = None,
        own: Tables | None = None,
    ) -> "Host":
        """Return a host with all plugins that there are; one that fails disturbs no other.

        Args:
            directories: Where each ``*.py`` is a plugin.
            plugins: Modules and objects handed over in code. A module that is also installed
                counts once, as handed over.
            configured: ``[plugins.NAME]`` by name, or all that the settings say about plugins.
            entry_points: What is installed; None looks it up.
            own: The router's own tables; None are those without schema and prefix.
        """
        if entry_points is None:
            entry_points = metadata.entry_points(group=hookspecs.PROJECT)
        handed_over = {one.__name__ for one in plugins if isinstance(one, ModuleType)}
        installed = [entry for entry in entry_points if entry.value not in handed_over]
        files, missing = find_files(directories)
        settings = configured
        if not isinstance(settings, PluginSettings):
            settings = PluginSettings(settings or {})
        host = cls(settings=settings, own=own or make_tables())
        host.broken += missing
        host._take([*find_entry_points(installed), *files, *find_objects(plugins)])
        return host

    def _take(self, candidates: Sequence[Candidate]) -> None:
        namesakes: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            namesakes.setdefault(candidate.name, []).append(candidate)
        for name, found in namesakes.items():
            is_off = self._settings.of(name).is_off
            self.disabled += [name] if is_off else []
            # What comes with the router is loaded even then: its adapters are always there.
            wanted = [one for one in found if one.is_first_party or not is_off]
            if len(wanted) > 1:
                self.broken += _refuse_namesakes(wanted)
            elif wanted:
                self._try(wanted[0])

    def _try(self, candidate: Candidate) -> None:
        try:
            self.plugins.append(self._make_plugin(candidate))
        except Exception as error:  # what a plugin raises ends here, so that others can be used
            if self.manager.has_plugin(candidate.name):
                self.manager.unregister(name=candidate.name)
            reason = str(error) if isinstance(error, RouterError) else explain(error)
            reason = error.reason if isinstance(error, PluginError) else reason
            self.broken.append(BrokenPlugin(candidate.name, candidate.origin, reason))

    def _make_plugin(self, candidate: Candidate) -> Plugin:
        name = candidate.name
        module = load(candidate)
        faults = find_faults(module, manager=self.manager)
        if faults:
            raise PluginError(name, "; ".join(faults))
        hooks = self._register(module, name)
        given = self._settings.of(name)
        is_asked_for = given.is_asked_for or not candidate.is_first_party
        is_enabled = is_asked_for and name not in self.disabled
        declared = read_declarations(name, hooks, given, is_enabled=is_enabled)
        self._require_new(name, declared.adapters)
        if declared.tables is not None:
            others = self.tables()
            plugin_tables.require_apart(name, declared.tables, own=self._own, others=others)
        return Plugin(
            name=name,
            origin=candidate.origin,
            distribution=candidate.distribution,
            version=candidate.version,
            module=module,
            is_enabled=is_enabled,
            hooks=hooks,
            handlers=make_handlers(hooks),
            declared=declared,
            threads=Threads(ALERTS, name=f"router-alert-{name}"),
        )

    def _register(self, module: object, name: str) -> dict[str, Implementation]:
        known = self.manager.get_name(module)
        if known is not None:
            raise PluginError(
                name, f"it is plugin {known!r} once more: give it an object of its own"
            )
        self.manager.register(module, name)
        return {
            caller.name: make_implementation(caller.name, implementation.function)
            for caller in self.manager.get_hookcallers(module) or ()
            for implementation in caller.get_hookimpls()
            if implementation.plugin is module and caller.has_spec()
        }

    def _require_new(self, name: str, adapters: Iterable[str]) -> None:
        for plugin in self.plugins:
            for adapter in sorted(set(adapters) & set(plugin.declared.adapters)):
                reason = f"its adapter {adapter!r} is offered by plugin {plugin.name!r} already"
                raise PluginError(name, f"{reason}: give it another name")

    def require_apart(self, own: Tables) -> None:
        """Return when no plugin has a table with the name of one of the router's ``own``.

        Raises:
            PluginError: One has; names both.
        """
        for name, tables in self.tables().items():
            plugin_tables.require_apart(name, tables, own=own, others={})

    def tables(self) -> dict[str, MetaData]:
        """Return the tables of the plugins that run and keep some, by the plugin's name."""
        return {
            plugin.name: plugin.declared.tables
            for plugin in self.running()
            if plugin.declared.tables is not None and plugin.declared.tables.tables
        }

    def routes(self) -> "dict[str, Sequence[BaseRoute]]":
        """Return the routes of the plugins that run and have some, by the plugin's name."""
        return {one.name: one.declared.routes for one in self.running() if one.declared.routes}

    def adapters(self) -> dict[str, Adapter]:
        """Return the adapters of all plugins by name, enabled or not."""
        return {
            name: adapter
            for plugin in self.plugins
            for name, adapter in plugin.declared.adapters.items()
        }

    def running(self) -> list[Plugin]:
        """Return the plugins that are enabled: those whose hooks are called."""
        return [plugin for plugin in self.plugins if plugin.is_enabled]

    def subscribers(self) -> list[Plugin]:
        """Return the plugins that run and handle events: those that have a subscription."""
        return [plugin for plugin in self.running() if plugin.handlers]

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names``, which the configuration speaks of, that no plugin answers to.

        A broken plugin answers, and so does one that is turned off on purpose.
        """
        known = self._answering()
        return [name for name in dict.fromkeys(names) if name not in known]

    def unused_variables(self) -> list[str]:
        """Return the variables about plugins that no plugin answers to, likewise."""
        return self._settings.find_strays(self._answering())

    def _answering(self) -> set[str]:
        running = [plugin.name for plugin in self.running()]
        return {*running, *(plugin.name for plugin in self.broken), *self.disabled}

    def require_sound(self) -> None:
        """Return when every plugin can be used: a handler that is left out is lost work.

        Raises:
            PluginError: Some cannot; names each with its reason.
        """
        if self.broken:
            first, *others = self.broken
            lines = [f"plugin {one.name!r}: {one.reason} [{one.origin}]" for one in others]
            raise PluginError(first.name, "\n".join([f"{first.reason} [{first.origin}]", *lines]))


def _refuse_namesakes(candidates: Sequence[Candidate]) -> list[BrokenPlugin]:
    name = candidates[0].name
    places = " and ".join(one.origin for one in candidates)
    reason = f"{len(candidates)} plugins have this name, {places}: rename all but one"
    return [BrokenPlugin(name, places, reason)]
