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


class Busy(RuntimeError):
    """So much waits already that the query is refused.

    Attributes:
        retry_after_s: seconds after which it may be asked again, >= 0.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutOfTime(TimeoutError):
    """The query's deadline passed before there was an answer."""
