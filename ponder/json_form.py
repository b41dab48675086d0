"""Results as JSON: the one place where dataclasses become plain values.

Steps, services and fine-tunes hand dataclasses around. Whoever leaves the process (the command
line, a report that is kept, a DAG's XCom) asks here.
"""

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def json_form(value: Any) -> Any:
    """Return a value as JSON has it: objects, lists, text, numbers, truth and null.

    A dataclass becomes an object of its fields in their order, a set a sorted list, a number that
    is not finite null, for JSON has no word for it. What JSON does not know (a path, a time)
    becomes its text.

    Example:
        >>> from collections import Counter
        >>> json_form({"rejected": Counter(media=2), "share": float("nan"), "ids": {"b", "a"}})
        {'rejected': {'media': 2}, 'share': None, 'ids': ['a', 'b']}
    """
    match value:
        case np.generic() | np.ndarray():
            return json_form(value.tolist())
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): json_form(inner) for name, inner in value.items()}
        case list() | tuple():
            return [json_form(inner) for inner in value]
        case AbstractSet():
            return [json_form(inner) for inner in sorted(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_form(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return the JSON text of a value."""
    return json.dumps(json_form(value), indent=indent, allow_nan=False)
