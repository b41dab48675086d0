"""What a caller of recall may want to catch."""

from pymilvus.exceptions import MilvusException

IndexFailed = MilvusException
"""Milvus did not do what it was asked."""


class InvalidQuery(ValueError):
    """The query cannot be answered as it was asked."""


class NotFound(LookupError):
    """The query names an item or a user that the live version does not know."""


class Unavailable(RuntimeError):
    """There is no index, no live version or no encoder to answer with."""
