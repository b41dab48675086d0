"""The docs keep up with the code: commands, settings, DAGs, fields and features are all there.

`python tests/test_docs.py` writes the generated tables anew.
"""

import re
from pathlib import Path

import pytest

from catalog.lake.tables import TABLES
from catalog.records import Event, Item
from embedder.version import Manifest
from features.schema import feature_schema
from ponder.cli.app import app
from ponder.finetuning.options import flattened, options
from ponder.finetuning.recipes import configured
from ponder.finetuning.short_options import SHORT
from ponder.settings import Settings
from tests.metric_names import batch_families

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def read(name):
    return (ROOT / name).read_text()


def command_paths(typer_app, prefix=""):
    """The names of all commands, those of sub-apps behind the name of theirs."""
    for command in typer_app.registered_commands:
        yield prefix + (command.name or command.callback.__name__)
    for group in typer_app.registered_groups:
        yield from command_paths(group.typer_instance, f"{prefix}{group.name} ")


def feature_table():
    rows = [
        f"| `{f.name}` | {f.dtype} | {f.group} | {f.description} | `{f.source.replace('|', '¦')}` "
        f"| {f.unit} | {range_of(f)} |"
        for f in feature_schema()
    ]
    head = "| feature | type | group | meaning | formula | unit | range |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def range_of(feature):
    low, high = (None if bound is None else f"{bound:g}" for bound in (feature.low, feature.high))
    if low is None or high is None:
        return "" if low is None else f">= {low}"
    return f"{low} to {high}"


def settings_table():
    rows = []
    for name, field in Settings.model_fields.items():
        default = getattr(Settings(), name)
        shown = f"`{default}`" if isinstance(default, Path | str | int | float) and default else ""
        meaning = " ".join(field.description.split()).replace("|", "¦")
        rows.append(f"| `{name}` | `PONDER_{name.upper()}` | {shown} | {meaning} |")
    return "\n".join(["| setting | variable | default | meaning |", "|---|---|---|---|", *rows])


def option_table():
    """Every option of a fine-tune with its value in both default recipes."""
    short = {name: one.name.replace("_", "-") for one in SHORT for name in one.sets}
    recipes = [flattened(configured(recipe=name)) for name in ("reasoning", "gentle")]
    rows = []
    for name, option in options().items():
        named = f"`{name}`" + (f", `--{short[name]}`" if name in short else "")
        values = " | ".join(option_value(values.get(name, "")) for values in recipes)
        rows.append(f"| {named} | {option.kind} | {values} | {option.meaning} |")
    head = ["| option | type | `reasoning` | `gentle` | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def option_value(value):
    if isinstance(value, tuple | frozenset | dict):
        return ", ".join(map(str, sorted(value)))
    if isinstance(value, bool | None):
        return {None: "none", True: "true", False: "false"}[value]
    return str(value)


def metrics_table():
    """Every metric of steps and of the deployment with its labels."""
    rows = []
    for name, family in sorted(batch_families().items()):
        told = f"{name}_total" if family.type == "counter" else name
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{told}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


GENERATED = {
    "docs/observability.md": ("metrics", metrics_table),
    "docs/features.md": ("features", feature_table),
    "docs/finetuning.md": ("options", option_table),
    "docs/configuration.md": ("settings", settings_table),
}
"""Page -> the mark before its generated table, and what generates it."""


def with_table(page):
    """The page as it must be."""
    mark, table = GENERATED[page]
    return re.sub(
        rf"(<!-- {mark} -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{table()}\n{match[2]}",
        read(page),
        flags=re.DOTALL,
    )


@pytest.mark.parametrize("page", GENERATED)
def test_a_generated_table_is_that_of_the_code(page):
    assert read(page) == with_table(page), "run: python tests/test_docs.py"


def test_every_manifest_key_is_documented():
    text = read("docs/configuration.md")
    for name in Manifest.__dataclass_fields__:
        assert f"`{name}`" in text, name


def test_every_record_field_and_table_is_documented():
    text = read("docs/data.md")
    for name in (*Item.__struct_fields__, *Event.__struct_fields__, *TABLES):
        assert f"`{name}`" in text, name


def test_every_command_is_documented():
    text = read("docs/commands.md")
    for command in command_paths(app):
        assert f"`ponder {command}" in text, command


def test_every_dag_is_documented():
    text = read("docs/deploy.md")
    for path in (ROOT / "dags").glob("*.py"):
        assert f"`{path.stem}`" in text, path


def test_links_between_files_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "embedder/nano/README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


if __name__ == "__main__":
    for page in GENERATED:
        (ROOT / page).write_text(with_table(page))
