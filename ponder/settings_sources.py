"""Read settings from the command line, the environment and a file, the first of these first.

The file is `ponder.toml` in the working directory, or the one that `--config` or `PONDER_CONFIG`
names. A variable is called PONDER_ and the setting's name in capitals; an empty one is an unset
one. What is not known is refused, for a setting that is spelled wrong would silently do nothing.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from ponder.finetuning.promotion import PromotionConfig
from ponder.ranking.promotion import RankerPromotionConfig
from ponder.setting_values import without_password
from ponder.settings import SECRETS, SETTINGS, Settings

FILE = "ponder.toml"
CONFIG_VARIABLE = "PONDER_CONFIG"
"""Names the file."""

PREFIX, NESTED = "PONDER_", "__"

THRESHOLDS = {"promotion": PromotionConfig, "ranker_promotion": RankerPromotionConfig}
NESTABLE = ("lake_options", "kafka_security", *THRESHOLDS)
"""The settings whose keys may be given by variables of their own."""

DEFAULT = "default"
"""The origin of what nobody has set."""


class SettingsError(ValueError):
    """The settings cannot be used; the text has a line for each thing that is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, repr=False)
class SettingsSources:
    """What was found, not checked yet but for the names."""

    values: Mapping[str, Any]
    """Setting -> value as it was found; secrets among them."""

    origins: Mapping[str, str]
    """Setting -> the file, variable or option that it was found in; others have their default."""

    problems: tuple[str, ...]
    """A line for each name that is not known, and one for a file that cannot be read."""

    def settings(self) -> Settings:
        """Return the settings.

        Raises:
            SettingsError: a name is not known, or a value is not what it must be.
        """
        wrong: tuple[str, ...] = ()
        try:
            settings = Settings(**self.values)
        except ValidationError as error:
            wrong = tuple(self._line(each) for each in error.errors(include_url=False))
        if self.problems or wrong:
            raise SettingsError(self.problems + wrong)
        return settings

    def origin(self, name: str) -> str:
        """Return where a setting comes from."""
        return self.origins.get(name, DEFAULT)

    def _line(self, wrong: ErrorDetails) -> str:
        """What is wrong with one value; a secret itself is not told."""
        said = wrong["msg"].removeprefix("Value error, ")
        if not wrong["loc"]:  # of several settings together
            return said
        name, *inside = map(str, wrong["loc"])
        key, place = ".".join([name, *inside]), self.origin(name)
        if wrong["type"] == "value_error":
            return f"{place}: {key} cannot be read: {said}"
        if wrong["type"] == "unexpected_keyword_argument":
            parts = [field.name for field in fields(THRESHOLDS[name])]
            return f"{place}: {_unknown(f'part of {name}', inside[-1], parts)}"
        if wrong["type"] == "dict_type":
            return f"{place}: {key} must be a table, or in a variable a JSON object"
        got = "" if name in SECRETS else f", got {without_password(repr(wrong['input']))}"
        return f"{place}: {key} {said.removeprefix('Input ')}{got}"


def load_settings(config: Path | None = None, **options: Any) -> Settings:
    """Return the settings of this process.

    Args:
        config: the file; None takes the one that `PONDER_CONFIG` names, or `ponder.toml` in the
            working directory if there is one.
        options: settings by name that go before all others.

    Raises:
        SettingsError: a name is not known, or a value is not what it must be.
    """
    return read_sources(config, **options).settings()


def read_sources(config: Path | None = None, **options: Any) -> SettingsSources:
    """Return what the file, the environment and the options say, and where each of it was said.

    Args:
        config: as of `load_settings`.
        options: as of `load_settings`.
    """
    path, file, problems = _read_file(config)
    variables = _variables()
    values = _merged(_merged(file, _Environment(Settings)()), options)
    origins: dict[str, list[str]] = {name: [str(path)] for name in file}
    for variable, name in variables.items():
        is_part = isinstance(values.get(name), dict)  # what the file has beside it stays
        origins[name] = [*(origins.get(name, []) if is_part else []), variable]
    origins |= {name: [f"--{name}"] for name in options}
    places = {name: ", ".join(found) for name, found in origins.items()}
    problems += [
        f"{path}: {_unknown('setting', name, SETTINGS)}" for name in file if name not in SETTINGS
    ]
    problems += [
        _unknown("setting", variable, [*map(_variable, SETTINGS)])
        for variable, name in variables.items()
        if name not in SETTINGS
    ]
    known = {name: value for name, value in values.items() if name in SETTINGS}
    return SettingsSources(known, places, tuple(problems))


class _Environment(EnvSettingsSource):
    """The variables; one that should be JSON and is not is left to the check of its setting."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _read_file(config: Path | None) -> tuple[Path, dict[str, Any], list[str]]:
    """The file's path, what it holds, and why it cannot be read."""
    named = config or os.environ.get(CONFIG_VARIABLE)
    path = Path(named or FILE)
    if not named and not path.exists():
        return path, {}, []
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8")), []
    except (OSError, ValueError) as error:
        return path, {}, [f"{path} must be a TOML file that can be read: {error}"]


def _variables() -> dict[str, str]:
    """Variable -> the setting that it sets, wholly or in part; of those that mean us."""
    found = {}
    for variable, value in sorted(os.environ.items()):
        if value and variable.upper().startswith(PREFIX) and variable != CONFIG_VARIABLE:
            lowered = variable.removeprefix(PREFIX).lower()
            name = lowered.partition(NESTED)[0]
            found[variable] = name if name in NESTABLE else lowered
    return found


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the second before the first; two tables of one setting are merged key by key."""
    both = {
        name: {**low[name], **high[name]}
        for name in low.keys() & high.keys()
        if isinstance(low[name], dict) and isinstance(high[name], dict)
    }
    return {**low, **high, **both}


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    [nearest] = get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name} is no {what}; the nearest is {nearest}"
