"""The options of a fine-tune, each once: the command line, the DAG's parameters and docs have them.

Every field of `FinetuneConfig` and of its sections is an option with a dotted name, such as
`joint.learning_rate`. A section that may be missing (`gate`, `joint.lora`) is an option too, whose
only value is `none`.
"""

import ast
import difflib
import inspect
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ponder.finetuning.config import FinetuneConfig

NONE = "none"
"""What is said for a value or section that is missing."""

DERIVED = (
    # Of the run's `seed`:
    *("joint.seed", "gate.seed", "behaviour.objective.seed", "behaviour.places.seed"),
    # Of the version's manifest:
    *("behaviour.objective.source", "behaviour.objective.dims", "behaviour.places.source"),
    "recipe",
)
"""Fields that follow from others and are no options."""


@dataclass(frozen=True, slots=True)
class Option:
    """A value that a recipe, a file or the command line may set."""

    name: str
    """Dotted, e.g. `joint.learning_rate`."""

    hint: Any
    """Its type; of a section that may be missing, the section's class."""

    meaning: str
    """The first sentence of its field's documentation."""

    @property
    def is_section(self) -> bool:
        """Whether it has options of its own, and can only be set to `none`."""
        return is_dataclass(self.hint)

    @property
    def kind(self) -> str:
        """Its type as a person reads it."""
        return f"section, or {NONE}" if self.is_section else _kind(self.hint)

    def read(self, value: object) -> object:
        """Read a value in the option's type; text as it is typed on a command line is parsed.

        Raises:
            ValueError: it is of another type.
        """
        try:
            return self._read(value)
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"{self.name} must be {self.kind}, got {value!r}: {error}") from error

    def _read(self, value: object) -> object:
        if value is None or value == NONE:
            if self.is_section or NoneType in get_args(self.hint):
                return None
            raise ValueError("it cannot be missing")
        if self.is_section:
            raise ValueError(f"set its fields, e.g. {self.name}.{fields(self.hint)[0].name}")
        is_text = isinstance(value, str)
        if is_text and not _takes_text(self.hint):
            value = _parsed(str(value), self.hint)
        return msgspec.convert(value, self.hint, strict=not is_text)


@cache
def options() -> Mapping[str, Option]:
    """Return all options by name, in the order in which the stages use them."""
    return {option.name: option for option in _options_of(FinetuneConfig, "")}


def known(name: str) -> Option:
    """Return the option of a name.

    Raises:
        ValueError: there is none; the text says which name comes nearest.
    """
    option = options().get(name)
    if option is None:
        nearest = [other for other in options() if other.endswith(f".{name}")]
        nearest = nearest or difflib.get_close_matches(name, options(), n=1, cutoff=0.4)
        asked = f"; did you mean {' or '.join(nearest)}?"
        hint = asked if nearest else "; docs/finetuning.md lists them"
        raise ValueError(f"no option is called {name!r}{hint}")
    return option


def merged(values: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return the values with others in their place, each in its option's type.

    A section that is set to None loses its fields, and one whose field is set is there again.

    Raises:
        ValueError: a name is no option, or a value has another type.
    """
    made = dict(values)
    for name, value in changes.items():
        option = known(name)
        made[name] = option.read(value)
        if option.is_section:
            made = {key: kept for key, kept in made.items() if not key.startswith(f"{name}.")}
        for section in _sections_of(name):
            made.pop(section, None)
    return made


def assigned(texts: list[str]) -> dict[str, object]:
    """Read changes from texts such as `joint.learning_rate=1e-4`.

    Raises:
        ValueError: a text is no assignment.
    """
    changes: dict[str, object] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"a change must look like joint.learning_rate=1e-4, got {text!r}")
        changes[name.strip()] = value.strip()
    return changes


def built(values: Mapping[str, object], *, recipe: str) -> FinetuneConfig:
    """Build the configuration that has these values, and defaults elsewhere.

    Raises:
        ValueError: a value is out of range, or one that has no default is missing.
    """
    made: FinetuneConfig = _built(FinetuneConfig, "", {**values, "recipe": recipe})
    return made.seeded


def flattened(config: FinetuneConfig) -> dict[str, object]:
    """Return the value of every option, by name; a section that is missing is None."""
    found: dict[str, object] = {}
    for name, option in options().items():
        value: object = config
        for part in name.split("."):
            value = None if value is None else getattr(value, part)
        if not option.is_section or value is None:
            found[name] = value
    missing = tuple(f"{name}." for name in found if options()[name].is_section)
    return {name: value for name, value in found.items() if not name.startswith(missing)}


def tables(config: FinetuneConfig) -> dict[str, Any]:
    """Return the values as a recipe file nests them, with the name of the recipe."""
    made: dict[str, Any] = {"recipe": config.recipe}
    for name, value in flattened(config).items():
        *sections, last = name.split(".")
        table = made
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return made


def _sections_of(name: str) -> Iterator[str]:
    """Return the sections that an option lies in, the outermost first."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))


def _options_of(kind: type, prefix: str) -> Iterator[Option]:
    hints, meanings = get_type_hints(kind), _meanings(kind)
    for one in fields(kind):
        name, hint = f"{prefix}{one.name}", hints[one.name]
        if name in DERIVED:
            continue
        section = _section(hint)
        if section is None:
            yield Option(name, hint, meanings.get(one.name, ""))
            continue
        if section is not hint:
            yield Option(name, section, meanings.get(one.name, ""))
        yield from _options_of(section, f"{name}.")


def _section(hint: Any) -> type | None:
    """Return the configuration class of a hint, which may allow for None; or None."""
    for one in (hint, *get_args(hint)):
        if is_dataclass(one) and isinstance(one, type):
            return one
    return None


def _meanings(kind: type) -> dict[str, str]:
    """Return by field the first sentence of the text below it, base classes included."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not is_dataclass(owner):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for before, after in zip(tree.body, tree.body[1:], strict=False):
            match before, after:
                case (
                    ast.AnnAssign(target=ast.Name(name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split()).split(". ")[0].rstrip(".") + "."
    return found


def _built(kind: type, prefix: str, values: Mapping[str, object]) -> Any:
    hints, given = get_type_hints(kind), {}
    for one in fields(kind):
        name = f"{prefix}{one.name}"
        section = _section(hints[one.name])
        if section is None or name in values:
            if name in values:
                given[one.name] = values[name]
        elif section is hints[one.name] or any(key.startswith(f"{name}.") for key in values):
            given[one.name] = _built(section, f"{name}.", values)
    absent = [
        f"{prefix}{one.name}"
        for one in fields(kind)
        if one.default is MISSING and one.default_factory is MISSING and one.name not in given
    ]
    if absent:
        raise ValueError(f"{', '.join(absent)} must be set")
    return kind(**given)


def _takes_text(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_takes_text(one) for one in get_args(hint))
    return hint is str or (
        get_origin(hint) is Literal and all(isinstance(one, str) for one in get_args(hint))
    )


def _parsed(text: str, hint: Any) -> object:
    """Read text as the value of another type: lists by commas, tables as in TOML."""
    origin = get_origin(hint)
    if origin in (tuple, frozenset) and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if origin is not None and text.startswith(("[", "{")):
        return tomllib.loads(f"value = {text}")["value"]
    return text


def _kind(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(NONE if one is NoneType else _kind(one) for one in inner)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (tuple, frozenset):
        return f"list of {_kind(inner[0])}"
    if origin is not None:
        return f"table of {_kind(inner[-1])}"
    names = {int: "integer", float: "number", bool: "true or false", str: "text"}
    return names.get(hint, str(hint))
