"""Nothing stands in the house that nobody reaches: no command, DAG, service or other product code.

Tests do not count as users. The check goes by names, so a name that two things share hides one of
them; it finds what was forgotten, not what was hidden.
"""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "catalog",
    "embedder",
    "features",
    "evaluation",
    "recall",
    "ranker",
    "serving",
    "ponder",
)
USERS = (*PACKAGES, "dags")
WORLD = "catalog/bazaar"
"""The synthetic world, which benchmarks draw from as well."""

ENTRIES = {
    "ponder.__main__",  # python -m ponder, torchrun --module ponder
    "embedder.nano.training",  # python -m embedder.nano.training
    "catalog.decoding.worker",  # python -m catalog.decoding.worker, by `catalog.decoding.decoder`
    "serving.client",  # imported by those who ask the service
}
CALLED_FROM_OUTSIDE = {
    "app",  # the entry point that pyproject.toml names
    "main",  # of a module that is a command
    *("Client", "AsyncClient"),  # of serving.client
    "tell_late",  # that Airflow's triggerer imports
}


def trees(packages):
    return {
        path: ast.parse(path.read_text())
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def public_names(tree):
    """Functions, classes and constants that a file gives to others, with their nodes."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node


def uses(tree):
    """How often each name is read, called or imported from somewhere."""
    found = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                found[name] += 1
            case ast.Constant(value=str() as text) if text.isidentifier():
                found[text] += 1  # annotations in quotes, names looked up by getattr
    return found


def is_command(node):
    """Typer and FastAPI call what is decorated, pytest what is a fixture."""
    return bool(getattr(node, "decorator_list", ()))


def used_by(users):
    used = Counter()
    for tree in trees(users).values():
        used += uses(tree)
    return used


def test_every_public_name_is_used_by_product_code():
    used, used_in_world = used_by(USERS), used_by((*USERS, "bench"))
    idle = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees(PACKAGES).items()
        for name, node in public_names(tree)
        if not name.startswith("_") and name not in CALLED_FROM_OUTSIDE
        if not (is_command(node) and "cli" in path.parts)
        if not (used_in_world if WORLD in path.as_posix() else used)[name] - uses(node)[name]
    ]
    assert idle == []


def test_every_module_is_imported_by_product_code():
    imported = set(ENTRIES)
    for path, tree in trees((*USERS, "bench")).items():
        for node in ast.walk(tree):
            found = set()
            if isinstance(node, ast.Import):
                found = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            if path.is_relative_to(ROOT / "bench"):
                found = {name for name in found if name.startswith(WORLD.replace("/", "."))}
            imported |= found
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in trees(PACKAGES)]
    idle = [m for m in modules if not m.endswith("__init__") and m not in imported]
    assert idle == []
