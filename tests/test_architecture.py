"""The house stands: imports go down its floors, modules stay small, and nothing is hidden."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module may import from its own floor and from those below. A sub-package stands on one floor.
FLOORS = {
    1: "alerts bell bodies breaker clock config conventions crew errors events files filters gate"
    " kind lane layers lending masks meters mounts options paths periodic places plugin_settings"
    " progress reach replay_states rests room roundtrips schema secrets slots threads tracing"
    " turns",
    2: "announcements audit bulk candidates chunks cloud coreapp dedicated dedupe dependents"
    " dialects exchanges fresh_tables guard handshakes head letters listening lookup migrate"
    " opentelemetry outgoing outlet pages periods plugin_tables postgresql reparse_plan retry rows"
    " scripts sources sqlite store tiling tls transports verification",
    3: "context hookspecs log tail",
    4: "agenda backlog claims copies dead fates fence handlers intents lanes ledger parking"
    " rebuild_record replay_counts replay_lanes replay_plan replay_record replay_runs reparsing"
    " rest retention roster shares status stored unowned wakeups waves writer",
    5: "appending backups calls control declarations doctor failures faults host lifecycle"
    " loading problems prometheus receiver routes standstill subscriptions traced uploads",
    6: "assembly attempts batches deliveries delivery dispatcher firsts intake lines opening queues"
    " neighbours outbox rebuilds replay replay_handle retries shadow verdicts watch",
    7: "app",
    8: "__init__ cli console demo plugins serving testing",
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def find_modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; the linked folders where they really are."""
    found = {}
    for package, folder in (
        ("router", ROOT / "router"),
        ("router.plugins", ROOT / "plugins"),
        ("router.migrations", ROOT / "migrations"),
    ):
        for path in sorted(folder.rglob("*.py")):  # follows no links
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts])
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = find_modules()


def find_imports(source: str, name: str, *, is_package: bool = False) -> Iterator[str]:
    """Yield the dotted names that ``source`` imports anywhere, for type checking too.

    Of ``from a import b`` it is ``a.b``, whether ``b`` is a module or a name in ``a``.
    """
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(name: str) -> set[str]:
    """What a module of the package imports."""
    path = MODULES[name]
    source = path.read_text("utf-8")
    return set(find_imports(source, name, is_package=path.name == "__init__.py"))


def modules_in(imports: set[str]) -> set[str]:
    """The modules of the package among ``imports``."""
    names = set()
    for imported in imports:
        if imported.split(".")[0] == "router":
            names.add(imported if imported in MODULES else imported.rpartition(".")[0])
    return names


def floor_of(name: str) -> int:
    """The floor that a module stands on."""
    below = name.removeprefix("router").removeprefix(".").split(".")[0]
    return FLOOR_OF[below or "__init__"]


def is_migration(name: str) -> bool:
    """Whether a module belongs to the revisions, which have rules of their own."""
    return name.startswith("router.migrations")


HOUSE = sorted(name for name in MODULES if not is_migration(name))


def test_every_module_has_a_floor() -> None:
    """A new module is given its place in the table above before anything imports it."""
    parts = {name.split(".")[1] for name in HOUSE if "." in name}

    assert parts - FLOOR_OF.keys() == set()


def test_imports_go_down() -> None:
    """No module imports from a floor above its own."""
    upwards = [
        f"{name} (floor {floor_of(name)}) imports {other} (floor {floor_of(other)})"
        for name in HOUSE
        for other in sorted(modules_in(imports_of(name)))
        if floor_of(other) > floor_of(name)
    ]

    assert upwards == []


def test_imports_run_in_no_circle() -> None:
    """No module imports itself by way of others."""
    graph = {name: modules_in(imports_of(name)) - {name} for name in HOUSE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_imports_stand_at_the_top() -> None:
    """No import hides in a function, where it would dodge a circle."""
    hidden = []
    for name, path in MODULES.items():
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, FUNCTIONS):
                hidden += [
                    f"{name}:{node.lineno}"
                    for node in ast.walk(function)
                    if isinstance(node, (ast.Import, ast.ImportFrom))
                ]

    assert hidden == []


def test_plugins_use_public_names() -> None:
    """What our own plugins need of the router, anybody's plugin has too."""
    private = [
        f"{name} imports {imported}"
        for name in HOUSE
        if name.startswith("router.plugins")
        for imported in sorted(imports_of(name))
        if imported.startswith("router.") and not imported.startswith("router.plugins.")
        if "._" in imported
    ]

    assert private == []


def test_plugins_stay_below_the_application() -> None:
    """Plugins know the public names and the floors below the faces, not the commands or pages."""
    faces = {f"router.{name}" for name in FLOORS[8].split()} - {"router.plugins"}
    reached = [
        f"{name} imports {other}"
        for name in HOUSE
        if name.startswith("router.plugins")
        for other in modules_in(imports_of(name))
        if other in faces or other.startswith(tuple(f"{face}." for face in faces))
    ]

    assert reached == []


def test_metrics_have_one_exporter() -> None:
    """The core counts without prometheus-client, which an extra brings."""
    exporters = [
        name
        for name in HOUSE
        if any(imported.split(".")[0] == "prometheus_client" for imported in imports_of(name))
    ]

    assert exporters == ["router.prometheus"]


def test_tracing_has_one_maker_of_spans() -> None:
    """The core is traced without OpenTelemetry, whose API an extra brings."""
    makers = [
        name
        for name in HOUSE
        if any(imported.split(".")[0] == "opentelemetry" for imported in imports_of(name))
    ]

    assert makers == ["router.opentelemetry"]


def test_revisions_are_frozen() -> None:
    """Revisions lean on alembic and SQLAlchemy alone; only their environment knows the tables."""
    allowed = {"alembic", "sqlalchemy", *sys.stdlib_module_names}
    leaning = []
    for name in filter(is_migration, MODULES):
        for imported in imports_of(name):
            is_environments = name == "router.migrations.env"
            if is_environments and imported.rpartition(".")[0] == "router.schema":
                continue
            if imported.split(".")[0] not in allowed:
                leaning.append(f"{name} imports {imported}")

    assert leaning == []


def test_modules_are_short() -> None:
    """A module that grows past 300 lines holds more than one thing."""
    lengths = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}

    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_modules_say_what_lives_in_them() -> None:
    """Every module opens with a sentence."""
    silent = [
        name
        for name, path in MODULES.items()
        if not (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").rstrip().endswith(".")
    ]

    assert silent == []


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import router.log", "router.log"),
        ("from router import log", "router.log"),
        ("from router.log import EventLog as Log", "router.log.EventLog"),
        ("from . import log", "router.log"),
        ("from ..log import EventLog", "router.log.EventLog"),
        ("if TYPE_CHECKING:\n    import router.log", "router.log"),
        ("def f():\n    from router import log", "router.log"),
    ],
)
def test_no_form_of_import_is_overlooked(source: str, imported: str) -> None:
    """Relative, renamed, type-only and hidden imports are seen like any other."""
    name = "router.cli.db" if "from .." in source else "router.errors"

    assert list(find_imports(source, name)) == [imported]
