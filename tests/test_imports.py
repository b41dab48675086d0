"""Who may import whom: downwards only, nothing in a circle, each heavy library has one owner."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "catalog": set(),
    "embedder": {"catalog"},
    "features": {"catalog"},
    "evaluation": {"catalog", "embedder", "features"},
    "recall": {"catalog", "embedder", "features", "evaluation"},
    "ranker": {"catalog", "features", "evaluation"},
    "serving": {"catalog", "embedder", "features", "recall", "ranker"},
    "ponder": {"catalog", "embedder", "features", "evaluation", "recall", "ranker", "serving"},
    "bench": {
        *("catalog", "embedder", "features", "evaluation", "recall", "ranker", "ponder"),
        "serving",
    },
    "dags": {"ponder"},
}

# Floors within a package, the lowest first. A file or folder stands on the floor of the longest
# name that it begins with, and imports from its own floor and from those below.
FLOORS = {
    "catalog": (
        "catalog.atomic_file",
        "catalog.text_lines",
        "catalog.records",
        "catalog.record_parsing",
        "catalog.bazaar",
        "catalog.lake",
        "catalog.clips",
        "catalog.emoji",
        "catalog.audio",
        "catalog.decoding",
        "catalog.images",
        "catalog.artifact_store",
        "catalog.ingest",
        "catalog.kafka",
        "catalog.audit",
    ),
    "embedder": (
        "embedder.content",
        "embedder.reasoning_budget",
        "embedder.golden_vectors",
        "embedder.query_batch",
        "embedder.base_encoder",
        "embedder.config_section",
        "embedder.prompting",
        "embedder.head_config",
        "embedder.precision",
        "embedder.version",
        "embedder.model",
        "embedder.engine",
        "embedder.mmemb_r1",
        "embedder.reasoners",
        "embedder.sentence",
        "embedder.pair",
        "embedder.identity",
        "embedder.plan",
        "embedder.items",
        "embedder.finetune.data",
        "embedder.finetune.records",
        "embedder.finetune.training",
        "embedder.codes",
        "embedder.finetune.heads",
        "embedder.finetune.rationales.judges",
        "embedder.finetune.rationales",
        "embedder.finetune.gate",
        "embedder.nano",
        "embedder.small",
    ),
    "ponder": (
        "ponder.json_form",
        "ponder.registry",
        "ponder.finetuning.promotion",
        "ponder.ranking.promotion",
        "ponder.gate_measurements",
        "ponder.setting_values",
        "ponder.places",
        "ponder.settings",
        "ponder.settings_sources",
        "ponder.rationales",
        "ponder.wiring",
        "ponder.telemetry",
        "ponder.ranking",
        "ponder.steps",
        "ponder.doctor",
        "ponder.reports",
        "ponder.finetuning",
        "ponder.nano",
        "ponder.small",
        "ponder.cli",
        "ponder.__main__",
    ),
}

OWNER = {
    "av": {"catalog.clips", "catalog.audio"},
    "packaging": {"ponder.doctor"},
    "kafka": {"catalog.kafka", "catalog.audit", "bench"},
    "deltalake": {"catalog.lake"},
    "httpcore2": {"catalog.images"},
    "torch": {"embedder", "bench"},
    "transformers": {"embedder", "bench"},
    "tokenizers": {"embedder", "bench"},
    "safetensors": {"embedder", "bench"},
    "sentence_transformers": {"embedder.sentence", "embedder.pair.export", "bench"},
    "httpx2": {"embedder.reasoners", "serving.client"},
    "peft": {"embedder.finetune.training"},
    "mteb": {"evaluation.mteb", "bench"},
    "datasets": {"evaluation.mteb", "bench"},
    "pymilvus": {"recall", "bench"},
    "milvus_lite": {"recall.lite_folder"},
    "fastapi": {"serving", "bench.text_endpoint"},
    "tantivy": {"recall.text_index"},
    "lightgbm": {"ranker", "bench.ranker"},
    "typer": {"ponder.cli"},
    "rich": {"ponder.cli"},
    "pydantic_settings": {"ponder.settings", "ponder.settings_sources"},
    "airflow": {"dags"},
    "opentelemetry": {"ponder.telemetry"},
}
# What may be used where torch is not installed.
TORCH_FREE = (
    "embedder.content",
    "embedder.base_encoder",
    "embedder.codes.codebook_file",
    "embedder.codes.codebooks",
    "embedder.codes.config",
    "embedder.codes.kmeans",
    "embedder.codes.quality",
    "embedder.codes.residual_kmeans",
    "embedder.reasoning_budget",
    "embedder.query_batch",
    "embedder.config_section",
    "embedder.head_config",
    "embedder.precision",
    "embedder.version",
    "embedder.prompting.audio_config",
    "embedder.prompting.template",
    "embedder.prompting.images",
    "embedder.sentence.version",
    "embedder.pair.config",
    "embedder.pair.version",
    "embedder.identity",
    "embedder.plan",
    "embedder.reasoners.reasoner",
    "embedder.finetune.gate.config",
    "embedder.finetune.rationales.config",
    "embedder.finetune.training.config",
    "recall",
    "serving",
)


def is_in(module, room):
    return module == room or module.startswith(f"{room}.")


@cache
def modules():
    """Path of every module by its name."""
    found = {}
    for package in MAY_IMPORT:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports(module):
    """What a module imports, wherever in it; what only annotates is not among it."""
    tree = ast.parse(modules()[module].read_text())
    annotating = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in annotating:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & modules().keys() or {node.module}
    return found


@cache
def defined(module):
    """Names that a module has once it is imported."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def floor(module, package):
    """Number of the module's floor; -1 for a package's empty `__init__.py`."""
    rooms = [room for room in FLOORS[package] if is_in(module, room)]
    return FLOORS[package].index(max(rooms, key=len)) if rooms else -1


@pytest.mark.parametrize("module", modules())
def test_imports_run_downwards_only(module):
    package = module.partition(".")[0]
    for imported in imports(module):
        top = imported.partition(".")[0]
        if top in MAY_IMPORT and top != package:
            assert top in MAY_IMPORT[package], f"{module} must not import {imported}"
        if top == package and package in FLOORS:
            assert floor(imported, package) <= floor(module, package), f"{module}: {imported}"


@pytest.mark.parametrize("module", modules())
def test_what_is_imported_from_another_module_is_there(module):
    # No test runs the benchmarks: a name that moved would be missed when somebody measures.
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in modules():
            inner = modules().keys() - {node.module}
            for name in {alias.name for alias in node.names}:
                assert name in defined(node.module) or f"{node.module}.{name}" in inner, name


@pytest.mark.parametrize("module", modules())
def test_a_heavy_library_is_imported_by_its_owner_alone(module):
    for imported in imports(module):
        owners = OWNER.get(imported.partition(".")[0])
        if owners:
            assert any(is_in(module, owner) for owner in owners), f"{imported} belongs to {owners}"


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_stands_on_a_floor(package):
    homeless = [m for m in modules() if is_in(m, package) and floor(m, package) < 0]
    assert [m for m in homeless if modules()[m].name != "__init__.py"] == []


def test_no_imports_go_in_a_circle():
    left = {module: imports(module) & modules().keys() for module in modules()}
    while free := [module for module, needed in left.items() if not needed & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"each of these imports another one of them: {sorted(left)}"


@pytest.mark.parametrize("module", [m for m in modules() if any(is_in(m, r) for r in TORCH_FREE)])
def test_what_is_used_without_torch_loads_none(module):
    for imported in imports(module):
        assert imported.partition(".")[0] != "torch"
        if is_in(imported, "embedder"):
            assert any(is_in(imported, room) for room in TORCH_FREE), f"{imported} loads torch"


def test_package_files_import_nothing():
    for path in modules().values():
        if path.name == "__init__.py":
            assert path.read_text() == "", f"{path} must stay empty"


def test_there_are_no_drawers_for_odds_and_ends():
    odd = {"utils", "util", "common", "helpers", "misc"}
    assert not [module for module in modules() if odd & set(module.split("."))]
