"""Images from object stores, out of the buckets that a setting names."""

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

from catalog.images.check import check_size
from catalog.images.image import ImageConfig, ImageUnavailable
from catalog.records import RecordError

READ_BYTES = 1_000_000

_ARGUMENTS = {
    "access_key_id": "access_key",
    "secret_access_key": "secret_key",
    "session_token": "session_token",
    "region": "region",
    "default_region": "region",
    "endpoint": "endpoint_override",
    "endpoint_url": "endpoint_override",
}
"""Names of options, less any `AWS_`, as deltalake takes them, and as pyarrow does."""


class ObjectStoreReader:
    """Reads objects by their `s3:` addresses; safe to share between threads."""

    def __init__(
        self,
        config: ImageConfig,
        *,
        open_store: Callable[[ImageConfig], FileSystem] | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            config: buckets, credentials and limits.
            open_store: gives a file system whose top folders are the buckets; None: S3's.
        """
        self._config = config
        self._open_store = open_store or open_s3
        self._store: FileSystem | None = None
        self._opening = threading.Lock()

    def fetch(self, uri: str) -> bytes:
        """Fetch the bytes behind an `s3:` address, taken literally after `s3://` (no %-escapes).

        Raises:
            ImageUnavailable: the store refuses, fails, or is too slow.
            RecordError: at stage "media"; the bucket is not one of those allowed, it has no such
                object, or the object is too large.
        """
        path = self._path_of(uri)
        try:
            return self._read(path)
        except FileNotFoundError as error:
            raise RecordError(
                "media", f"image_uri must name an object of its bucket, got {uri!r}"
            ) from error
        except OSError as error:
            raise ImageUnavailable(f"the object store must give the image, got: {error}") from error

    def _path_of(self, uri: str) -> str:
        path = uri[len("s3://") :]
        bucket, _, key = path.partition("/")
        if not uri.lower().startswith("s3://") or bucket not in self._config.buckets:
            raise RecordError(
                "media", f"image_uri must name an allowed bucket, got {bucket!r}; see the settings"
            )
        # An HTTP client may resolve dots before it sends the path, and so leave the bucket.
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise RecordError("media", f"the key of an object must be a plain path, got {key!r}")
        return path

    def _read(self, path: str) -> bytes:
        deadline = monotonic() + self._config.total_timeout_s
        body = bytearray()
        with self._opened().open_input_file(path) as file:
            check_size(file.size(), max_bytes=self._config.max_bytes)
            while chunk := file.read(READ_BYTES):
                body += chunk
                if monotonic() > deadline:
                    raise TimeoutError(f"not done within {self._config.total_timeout_s:g} s")
        return bytes(body)

    def _opened(self) -> FileSystem:
        with self._opening:
            if self._store is None:
                self._store = self._open_store(self._config)
            return self._store


def open_s3(config: ImageConfig) -> FileSystem:
    """Open the object store of `config`'s options; without a key, as AWS's tools find it."""
    return S3FileSystem(
        connect_timeout=config.connect_timeout_s,
        request_timeout=config.read_timeout_s,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),  # retrying is the fetcher's work
        **s3_arguments(config.store_options),
    )


def s3_arguments(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the keyword arguments of pyarrow's S3 for storage options in deltalake's names.

    Options that only concern writing tables are left out.

    Example:
        >>> s3_arguments({"AWS_REGION": "eu-west-1", "AWS_SKIP_SIGNATURE": "true"})
        {'region': 'eu-west-1', 'anonymous': True}
    """
    plain = {name.lower().removeprefix("aws_"): value for name, value in options.items()}
    arguments: dict[str, Any] = {
        _ARGUMENTS[name]: value for name, value in plain.items() if name in _ARGUMENTS
    }
    if plain.get("skip_signature", "").lower() == "true":
        arguments["anonymous"] = True
    if plain.get("virtual_hosted_style_request", "").lower() == "true":
        arguments["force_virtual_addressing"] = True
    return arguments
