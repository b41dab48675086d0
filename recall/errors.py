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


class OtherDim(Unavailable):
    """What embeds and what is searched differ in the length of their vectors.

    It goes on until a person has done something, and each is good by itself: so the service is
    unavailable, and neither the query nor the service is at fault.
    """

    def __init__(self, version: str, *, dim: int, got: int) -> None:
        super().__init__(
            f"the vectors of version {version!r} that are searched have dim {dim}, but its encoder "
            f"gives dim {got}; register that encoder under a version of its own, embed, index and "
            "promote it, or give this version the encoder back that embedded it"
        )


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
