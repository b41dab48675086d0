"""Which items a query may return, as typed conditions instead of Milvus's expression language.

Values are untrusted and never become syntax: whoever writes an expression quotes its strings with
`quoted`. (Milvus's own way, templates with parameters, does not exist in Milvus Lite, and what
pymilvus makes of a list of ids is not quoted at all.)
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_VALUES = 1_000
MAX_IDS = 10_000


def _encodable(text: str) -> str:
    text.encode()  # half a surrogate pair is JSON but not UTF-8, and fails deep inside gRPC
    return text


Text = Annotated[StrictStr, AfterValidator(_encodable)]
Integer = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Scalar = StrictBool | Integer | Number | Text
Strings = Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_VALUES)]
Names = Annotated[
    tuple[Annotated[Text, Field(min_length=1)], ...], Field(min_length=1, max_length=MAX_VALUES)
]
_CODE = "(0|[1-9][0-9]{0,4})"
CodePrefix = Annotated[StrictStr, Field(pattern=f"^{_CODE}(-{_CODE}){{0,7}}$")]
CodePrefixes = Annotated[tuple[CodePrefix, ...], Field(min_length=1, max_length=100)]
Ids = Annotated[tuple[Text, ...], Field(max_length=MAX_IDS)]


class Range(BaseModel):
    """Numbers from `min` to `max`, both included; an open end is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min: FiniteFloat | None = None
    """The smallest number that is in it."""

    max: FiniteFloat | None = None
    """The largest number that is in it."""

    @model_validator(mode="after")
    def _is_not_open(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range must have a min, a max or both, got neither")
        return self


Condition = Scalar | Range | Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=100)]


class Filter(BaseModel):
    """Conditions that an item must meet, all of them; a field left out is no condition.

    An item without a category, or without an attribute, meets no condition on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    category_in: Names | None = None
    """The category is one of these; none of them is empty."""

    tags_any: Strings | None = None
    """At least one of these is among the tags."""

    tags_all: Strings | None = None
    """All of these are among the tags."""

    created_after: AwareDatetime | None = None
    """Created at this moment or later."""

    created_before: AwareDatetime | None = None
    """Created earlier than this moment."""

    attributes: dict[Text, Condition] = Field(default={}, max_length=100)
    """By attribute: the value it has, a list of values it may have, or a range it lies in.
    Numbers compare by value and never equal strings; Milvus Lite takes true for 1."""

    code_prefixes: CodePrefixes | None = None
    """The item's codes begin with one of these, e.g. `12-200` for all of `12-200-7`; of the codes
    that its version had in use when it was indexed, see docs/codes.md."""

    include_ids: Ids | None = None
    """The item is one of these; none at all when this is empty."""

    exclude_ids: Ids = ()
    """The item is none of these."""

    def excluding(self, item_ids: Iterable[str]) -> "Filter":
        """Return the same conditions, with these items ruled out too."""
        return self.model_copy(
            update={"exclude_ids": tuple(dict.fromkeys([*self.exclude_ids, *item_ids]))}
        )

    def under(self, prefix: str) -> "Filter":
        """Return the same conditions, and that an item's codes begin with a prefix.

        Example:
            >>> Filter(code_prefixes=("1-2", "1", "7")).under("1-2-3").code_prefixes
            ('1-2-3',)
        """
        both = {prefix}
        if self.code_prefixes is not None:
            within = [max(prefix, one, key=len) for one in self.code_prefixes if _meet(prefix, one)]
            if not within:
                return self.model_copy(update={"include_ids": ()})
            both = set(within)
        return self.model_copy(update={"code_prefixes": tuple(sorted(both))})

    @property
    def asks_columns(self) -> bool:
        """Whether there is a condition on anything but the item's id."""
        columns = (
            *("category_in", "tags_any", "tags_all", "created_after", "created_before"),
            "code_prefixes",
        )
        return bool(self.attributes) or any(getattr(self, name) is not None for name in columns)

    def expression(self) -> str:
        r"""Return the conditions as a Milvus boolean expression; empty when there are none.

        Example:
            >>> Filter(category_in=("a", 'b"c'), attributes={"year": Range(min=1999)}).expression()
            'category in ["a", "b\\"c"] and (attributes["year"] >= 1999.0)'
        """
        terms = []
        if self.category_in is not None:
            terms.append(f"category in {_strings(self.category_in)}")
        if self.tags_any is not None:
            terms.append(f"array_contains_any(tags, {_strings(self.tags_any)})")
        if self.tags_all is not None:
            terms.append(f"array_contains_all(tags, {_strings(self.tags_all)})")
        if self.created_after is not None:
            terms.append(f"created_at >= {microseconds(self.created_after)}")
        if self.created_before is not None:
            terms.append(f"created_at < {microseconds(self.created_before)}")
        terms += [f"({_attribute(name, c)})" for name, c in self.attributes.items()]
        if self.code_prefixes is not None:
            likes = [f"codes like {quoted(f'{prefix}-%')}" for prefix in self.code_prefixes]
            terms.append(f"({' or '.join(likes)})")
        if self.include_ids is not None:
            terms.append(ids_in(self.include_ids))
        if self.exclude_ids:
            terms.append(f"item_id not in {_strings(self.exclude_ids)}")
        return " and ".join(terms)


def _meet(one: str, other: str) -> bool:
    """Whether an item's codes may begin with both prefixes."""
    return f"{one}-".startswith(f"{other}-") or f"{other}-".startswith(f"{one}-")


def _attribute(name: str, condition: Condition) -> str:
    path = f"attributes[{quoted(name)}]"
    if isinstance(condition, Range):
        ends = ((">=", condition.min), ("<=", condition.max))
        return " and ".join(f"{path} {op} {_literal(end)}" for op, end in ends if end is not None)
    # Milvus Lite knows `in` for columns only, not for a path into a JSON column.
    values = condition if isinstance(condition, tuple) else (condition,)
    return " or ".join(f"{path} == {_literal(value)}" for value in values)


# The escapes that Milvus and Milvus Lite both read; every other character stands for itself.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def quoted(text: str) -> str:
    """Return a Milvus string literal that means exactly this text."""
    return f'"{text.translate(_ESCAPES)}"'


def ids_in(item_ids: Iterable[str]) -> str:
    """Return the Milvus expression that holds for these items."""
    return f"item_id in {_strings(item_ids)}"


def ids_between(begin: str, end: str | None) -> str:
    """Return the Milvus expression that holds for the items from `begin` to before `end`.

    Example:
        >>> ids_between("a", "m"), ids_between("", None)
        ('item_id >= "a" and item_id < "m"', '')
    """
    terms = [f"item_id >= {quoted(begin)}"] if begin else []
    terms += [] if end is None else [f"item_id < {quoted(end)}"]
    return " and ".join(terms)


def _strings(values: Iterable[str]) -> str:
    return f"[{', '.join(quoted(value) for value in values)}]"


def _literal(value: bool | int | float | str) -> str:
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def microseconds(moment: datetime) -> int:
    """Return a moment as the index holds it: microseconds since 1970, UTC."""
    return (moment - EPOCH) // timedelta(microseconds=1)
