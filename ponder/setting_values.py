"""What values of settings are made of, and how they are shown."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Secret, SecretStr

from catalog.images.addresses import parse_networks
from embedder.reasoning_budget import parse_budget
from features.groups import groups_named

MASK = "******"
"""In place of a secret."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def without_password(address: str) -> str:
    """Return an address as it may be shown: what stands before an @ in it is masked.

    Example:
        >>> without_password("https://root:milvus@host:19530")
        'https://******@host:19530'
    """
    return _USERINFO.sub(MASK, address)


def keyless(address: str) -> str:
    """Return an address of a store that carries no password: clients tell it in their errors.

    Raises:
        ValueError: it carries one; the text does not tell it.
    """
    if _USERINFO.search(address):
        raise ValueError(
            "the address of a store must carry no user name or password; put them into "
            "lake_options, e.g. as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return address


def brokers(value: str) -> str:
    """Return brokers that carry no password: clients tell them in their errors.

    Raises:
        ValueError: they carry one; the text does not tell it.
    """
    if "@" in value:
        raise ValueError(
            "brokers must be host:port with commas between them, got an @; put a user name and "
            "password into kafka_security, e.g. as sasl_plain_username and sasl_plain_password"
        )
    return value


def networks(value: Any) -> Any:
    """Return networks of a list, or of text with commas between them."""
    if isinstance(value, str):
        return parse_networks(value)
    if isinstance(value, list):
        return parse_networks(",".join(map(str, value)))
    return value


def names(value: Any) -> Any:
    """Return names of a list, or of text with commas between them."""
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


def set_of_features(value: str) -> str:
    """Return the name of a set of features that there is."""
    groups_named(value)
    return value


def budget(value: str) -> str:
    """Return a budget that can be read, or none."""
    if value:
        parse_budget(value)
    return value


class ApiKeySetting(BaseModel):
    """What is kept of an API key, and what it allows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: tuple[Literal["recall", "recommend", "write", "admin"], ...] = Field(min_length=1)


def masked(value: Any) -> Any:
    """Return a value as it may be shown."""
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, Secret | SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        return dict.fromkeys(value, MASK)
    return value
