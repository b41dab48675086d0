"""Sections of a checkpoint's `config.json` that transformers does not know."""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def told_section(cls: type[T], key: str, values: Mapping[str, Any] | None) -> T | None:
    """Return what `config.json` tells under a key, as a dataclass; None where that is nothing.

    Args:
        cls: the dataclass.
        key: the section's.
        values: what stands there.

    Raises:
        ValueError: a key is not known, or a value out of range.
    """
    if values is None:
        return None
    known = list(cls.__dataclass_fields__)  # type: ignore[attr-defined]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(
            f"{key} of config.json must have no keys but {', '.join(known)}, got "
            f"{', '.join(unknown)}"
        )
    return cls(**values)
