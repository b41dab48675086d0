"""Who may import whom: the packages follow the data, and each heavy library has one owner."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "catalog": set(),
    "embedder": {"catalog"},
    "recall": {"catalog", "embedder"},
    "features": {"catalog"},
    "ranker": {"catalog", "features"},
    "ponder": {"catalog", "embedder", "recall", "features", "ranker"},
    "dags": {"ponder"},
}
OWNER = {
    "kafka": {"catalog"},
    "deltalake": {"catalog"},
    "httpcore2": {"catalog"},
    "torch": {"embedder"},
    "transformers": {"embedder"},
    "tokenizers": {"embedder"},
    "safetensors": {"embedder"},
    "sentence_transformers": {"embedder"},
    "httpx2": {"embedder"},
    "peft": {"embedder"},
    "pymilvus": {"recall"},
    "fastapi": {"recall"},
    "lightgbm": {"ranker"},
    "typer": {"ponder"},
    "rich": {"ponder"},
    "airflow": {"dags"},
}
# `recall` and everything but the embedder may be used where torch is not installed.
TORCH_FREE = {
    "embedder.content",
    "embedder.version",
    "embedder.prompting.template",
    "embedder.plan",
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def files():
    return [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_upstream_only(path):
    package = path.relative_to(ROOT).parts[0]
    for module in imports(path):
        top = module.partition(".")[0]
        if top in MAY_IMPORT and top != package:
            assert top in MAY_IMPORT[package], f"{package} must not import {module}"
        if top in OWNER:
            assert package in OWNER[top], f"only {OWNER[top]} may import {top}, not {package}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_recall_and_the_torch_free_modules_stay_free_of_torch(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if module.startswith("recall") or module in TORCH_FREE:
        allowed = TORCH_FREE if module.startswith("embedder") else {"embedder.content"}
        for imported in imports(path):
            assert imported.partition(".")[0] != "torch"
            if imported.startswith("embedder"):
                assert imported in allowed, f"{module} imports {imported}, which loads torch"


def test_package_files_import_nothing():
    for path in files():
        if path.name == "__init__.py":
            assert path.read_text() == "", f"{path} must stay empty"


def test_there_are_no_drawers_for_odds_and_ends():
    odd = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}
    assert not [path for path in files() if path.name in odd]
