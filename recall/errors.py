"""What a caller of recall may want to catch, each with its own answer over HTTP."""

from pymilvus.exceptions import MilvusException

IndexFailed = MilvusException
"""Milvus did not do what it was asked: HTTP 503."""


class InvalidQuery(ValueError):
    """The query cannot be answered as it was asked: HTTP 422."""


class NotFound(LookupError):
    """The query names an item or a user that the live version does not know: HTTP 404."""


class Unavailable(RuntimeError):
    """There is no index, no live version or no encoder to answer with: HTTP 503."""
