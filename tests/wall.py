"""Which room of the package may know which, and the habits no room may have: the table and the judge.

A file belongs to the room it is named after: ``client_requests.py`` to ``client``, ``admin/events.py`` to
``admin``, unless the longer name stands in the table itself.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import genesys_eventbridge

PACKAGE = "genesys_eventbridge"
HOUSE = Path(genesys_eventbridge.__file__).parent

# From the ground up: the layer, its rooms, the layers it may know. A room may know its own layer, too.
_TABLE = [
    (
        "plain",
        "errors defects text wire timestamps verdicts cloudevents backoff rate refusals regions tls circuit"
        " platform",
        "",
    ),
    ("http", "answers network transport auth client", "plain"),
    ("sandbox", "sandbox", "plain"),
    (
        "memory",
        "clock conf database destinations due fields migrations models schemas signals states transactions",
        "plain",
    ),
    (
        "verbs",
        "agenda claims decisions drafts expiry explain followers health inserts operations outbox retention"
        " rollups settlements status sweep transitions wake",
        "plain memory",
    ),
    # The only layer that knows both worlds: it asks the platform and remembers the answer.
    ("relay", "senders relay shifts ping", "plain http memory verbs"),
    (
        "doors",
        "admin apps checks contrib identity management model_bulk model_catalogue model_changes "
        "model_columns model_declaration model_deletes model_events model_m2m model_payload model_problems "
        "model_receivers model_registry model_rows model_saves model_shapes model_writing schedules tasks",
        "plain sandbox memory verbs relay",
    ),
    ("testing", "testing", "plain http sandbox memory verbs relay doors"),
]
LAYERS = {layer: (frozenset(rooms.split()), frozenset(knows.split())) for layer, rooms, knows in _TABLE}
LAYER_OF = {room: layer for layer, (rooms, _) in LAYERS.items() for room in rooms}
DJANGO_ROOMS = frozenset(
    room for room, layer in LAYER_OF.items() if layer in {"memory", "verbs", "relay", "doors", "testing"}
)

# Which rooms may import what is not in the standard library. A new dependency is a decision: it stands here.
DEPENDENCIES = {
    "httpx": frozenset({"answers", "auth", "client", "transport", "testing"}),
    "httpcore": frozenset({"network", "transport"}),
    "certifi": frozenset({"tls"}),  # comes with httpx
    "django": DJANGO_ROOMS,
    "asgiref": DJANGO_ROOMS,
    "django_q": frozenset({"wake", "tasks", "schedules", "checks"}),
    "jsonschema": frozenset({"schemas"}),
    "referencing": frozenset({"schemas"}),  # comes with jsonschema
    "tqdm": frozenset({"management"}),
    "pytest": frozenset({"testing"}),
}
# Where these are missing the room must load all the same.
ONLY_INSIDE_FUNCTIONS = {("wake", "django_q"), ("schemas", "jsonschema"), ("schemas", "referencing")}
ONLY_FOR_TYPES = {("senders", "httpx"), ("ping", "httpx")}  # name the transport they hand to the client

# client: wait_until_final() is a blocking call by contract. sandbox: latency is what it plays.
# database: the moment between two tries of a small transaction.
SLEEPERS = frozenset({"client", "database", "sandbox"})

UNSAFE_NAMES = {
    "mark_safe": "escapes nothing: use format_html",
    "SafeString": "escapes nothing: use format_html",
    "CERT_NONE": "switches TLS verification off",
    "_create_unverified_context": "switches TLS verification off",
}
UNSAFE_MODULES = frozenset({"pickle", "cloudpickle", "dill", "marshal", "shelve"})
UNSAFE_TEMPLATE = re.compile(r"\|\s*safe(seq)?\b|autoescape\s+off")


def sources() -> Iterator[tuple[str, str]]:
    """Every Python file of the package: its path inside the package, its text."""
    for file in sorted(HOUSE.rglob("*.py")):
        yield file.relative_to(HOUSE).as_posix(), file.read_text(encoding="utf-8")


def room_of(path: str) -> str | None:
    """The room a file belongs to; None where nobody has placed it."""
    name = path.split("/", maxsplit=1)[0].removesuffix(".py")
    while name and name not in LAYER_OF:
        name = name.rpartition("_")[0]
    return name or None


def offences(path: str, source: str) -> list[str]:
    """What this file does that its room may not, each with its line; empty when all is well."""
    if path == "__init__.py":
        return [
            _at(path, node, "loads nothing, by promise")
            for node in ast.walk(ast.parse(source))
            if _loads(node)
        ]
    room = room_of(path)
    if room is None:
        return [f"{path}: unknown room: give it a layer in tests/wall.py"]
    tree = ast.parse(source)
    found = [
        *_import_offences(path, room, tree),
        *_habit_offences(path, room, tree),
        *_undocumented(path, source, tree),
    ]
    return list(dict.fromkeys(found))


def template_offences(path: str, text: str) -> list[str]:
    """Places of a template where a text from outside would reach the page unescaped."""
    return [
        f"{path}:{number}: {found.group()} escapes nothing"
        for number, line in enumerate(text.splitlines(), start=1)
        for found in UNSAFE_TEMPLATE.finditer(line)
    ]


def load_time_graph() -> dict[str, set[str]]:
    """Module -> the modules of the package it imports while it loads (not in functions, not for types)."""
    files = {_module(path): (path, source) for path, source in sources()}
    return {
        module: {
            target
            for node in _load_time(ast.parse(source))
            for imported in _imported(node, path)
            for target in [_file_of(imported, files)]
            if target not in {None, PACKAGE, module} and not module.startswith(f"{target}.")
        }
        for module, (path, source) in files.items()
    }


def _module(path: str) -> str:
    return ".".join((PACKAGE, *path.removesuffix(".py").split("/"))).removesuffix(".__init__")


def _file_of(imported: str, files: dict[str, tuple[str, str]]) -> str | None:
    """``pkg.conf.Settings`` -> ``pkg.conf``."""
    while imported and imported not in files:
        imported = imported.rpartition(".")[0]
    return imported or None


def _load_time(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run while a module loads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_type_block(node):
            continue
        yield node
        yield from _load_time(node)


def _for_types(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that never run: what stands under ``if TYPE_CHECKING:``."""
    for block in filter(_is_type_block, ast.walk(tree)):
        yield from ast.walk(block)


def _is_type_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not node.orelse


def _imported(node: ast.AST, path: str) -> list[str]:
    """The dotted names one node imports, absolute; a literal in import_module() or import_string() counts."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = node.module or ""
            if node.level:
                here = [PACKAGE, *path.split("/")][: -node.level]
                base = ".".join([*here, base]).rstrip(".")
            return [f"{base}.{alias.name}" for alias in node.names]
        case ast.Call(args=[ast.Constant(value=str(name)), *_]) if ast.unparse(node.func).endswith(
            ("import_module", "import_string", "__import__")
        ):
            return [name]
    return []


def _import_offences(path: str, room: str, tree: ast.Module) -> Iterator[str]:
    at_load = {id(node) for node in _load_time(tree)}
    for_types = {id(node) for node in _for_types(tree)}
    for node in ast.walk(tree):
        for imported in _imported(node, path):
            root, _, rest = imported.partition(".")
            if root == PACKAGE:
                reason = _why_not_room(room, rest)
            elif id(node) in for_types and (room, root) in ONLY_FOR_TYPES:
                reason = ""
            else:
                reason = _why_not_dependency(room, root, at_load=id(node) in at_load)
            if reason:
                yield _at(path, node, reason)


def _why_not_room(room: str, rest: str) -> str:
    """``rest`` is what follows the package's name; empty or dunder names are the package itself."""
    if not rest or rest.startswith("__"):
        return ""
    target = room_of(rest.split(".", maxsplit=1)[0])
    if target is None:
        return f"imports an unknown room: {rest}"
    layer = LAYER_OF[room]
    may_know = LAYERS[layer][1] | {layer}
    if LAYER_OF[target] in may_know:
        return ""
    allowed = ", ".join(sorted(may_know))
    return f"{room} ({layer}) may not know {target} ({LAYER_OF[target]}); it may know {allowed}"


def _why_not_dependency(room: str, root: str, *, at_load: bool) -> str:
    if root in UNSAFE_MODULES:
        return f"{root} runs what it reads"
    if root in sys.stdlib_module_names:
        return ""
    if room == "contrib":  # adapters: each file is about one foreign package
        return ""
    if room not in DEPENDENCIES.get(root, ()):
        return f"{room} may not import {root}"
    if (room, root) in ONLY_INSIDE_FUNCTIONS and at_load:
        return f"{room} imports {root} only inside a function: it must load without it"
    return ""


def _habit_offences(path: str, room: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        for reason in (_swallowed(node), _unverified(node), _unsafe_name(node), _asleep(node, room)):
            if reason:
                yield _at(path, node, reason)


def _swallowed(node: ast.AST) -> str:
    match node:
        case ast.ExceptHandler(type=None):
            return "a bare except takes SystemExit and KeyboardInterrupt too"
        case ast.ExceptHandler(body=[ast.Pass() | ast.Expr(value=ast.Constant())]):
            return "an except that does nothing loses the error: decide what it means"
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args) if any(
            ast.unparse(arg) in {"Exception", "BaseException"} for arg in args
        ):
            return "suppress(Exception) loses every error: name the one you mean"
    return ""


def _unverified(node: ast.AST) -> str:
    match node:
        case ast.keyword(arg="verify" | "check_hostname", value=ast.Constant(value=False)):
            return "TLS is always verified"
        case ast.Assign(
            targets=[ast.Attribute(attr="verify" | "check_hostname")], value=ast.Constant(value=False)
        ):
            return "TLS is always verified"
    return ""


def _unsafe_name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in UNSAFE_NAMES:
            return f"{name}: {UNSAFE_NAMES[name]}"
    return ""


def _asleep(node: ast.AST, room: str) -> str:
    match node:
        case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
            asleep = True
        case ast.ImportFrom(module="time", names=names):
            asleep = any(alias.name == "sleep" for alias in names)
        case _:
            asleep = False
    if asleep and room not in SLEEPERS:
        return "time.sleep cannot be woken: wait on an Event"
    return ""


def _undocumented(path: str, source: str, tree: ast.Module) -> Iterator[str]:
    if not path.startswith("migrations/") and source.strip() and not ast.get_docstring(tree):
        yield f"{path}: no docstring says what the module holds"


def _loads(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Call)


def _at(path: str, node: ast.AST, reason: str) -> str:
    return f"{path}:{getattr(node, 'lineno', 1)}: {reason}"
