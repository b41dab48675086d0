"""The image behind an address: where it may come from, and at what cost at most."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from catalog.audio import limits as audio_limits
from catalog.clips import limits as clip_limits
from catalog.images.addresses import Network
from catalog.images.base64_text import decode_base64, without_space
from catalog.images.check import MAX_BYTES, MAX_PIXELS, check_image, check_size
from catalog.records import RecordError

REMOTE_SCHEMES = ("http", "https", "s3")


class ImageUnavailable(RecordError):
    """An image that cannot be had now, but may be later: its item is worth landing again."""

    def __init__(self, reason: str) -> None:
        super().__init__("media", reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """Where images may be fetched from, and how much one of them may take."""

    allow: tuple[Network, ...] = ()
    """Networks that may be reached over HTTP although they are not of the public internet."""

    buckets: tuple[str, ...] = ()
    """Buckets that `s3:` may name. None by default: they are read with our keys, so whoever sends
    an item could otherwise have any object copied that the keys open."""

    store_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials, region and endpoint of the buckets, in the names that deltalake takes."""

    max_bytes: int = MAX_BYTES
    """Of an encoded image, after any compression of the transfer is undone."""

    max_pixels: int = MAX_PIXELS
    """Of one frame; the embedder reads no more than the default."""

    clips: clip_limits.ClipLimits = clip_limits.DEFAULT_LIMITS
    """What a clip may cost; fetched by the same rules, and as many bytes as it may have."""

    audio: audio_limits.AudioLimits = audio_limits.DEFAULT_LIMITS
    """What a sound may cost, likewise."""

    max_redirects: int = 3
    """Each is judged as the first address was."""

    connect_timeout_s: float = 5.0
    """Longest wait for a connection, and again for its TLS handshake."""

    read_timeout_s: float = 10.0
    """Longest wait for the next bytes."""

    total_timeout_s: float = 30.0
    """Longest time for one attempt, redirects included. The system's name resolution cannot be
    interrupted, and keeps its own time."""

    batch_timeout_s: float = 300.0
    """Longest wait for the images of one batch from Kafka; those not there by then are
    unavailable. A batch that never ended would be begun again by every run."""

    max_attempts: int = 2
    """Tries of an image that is unavailable; what is refused is not tried again."""

    retry_wait_s: float = 0.5
    """Before the second attempt; doubled before each further one."""

    max_concurrency: int = 32
    """Images fetched at once."""

    per_host: int = 8
    """Of these, from one host or bucket."""

    max_ahead: int = 1_024
    """Records read ahead of the one whose image is waited for."""

    max_ahead_bytes: int = 256_000_000
    """Images held for records read ahead; those under way may come on top."""

    max_host_failures: int = 5
    """After so many unavailable images in a row a host is left alone for `host_pause_s`: a dead
    one would otherwise hold up all the others' images by the timeouts of its own."""

    host_pause_s: float = 60.0
    """Its images are unavailable meanwhile."""

    def __post_init__(self) -> None:
        may_be_zero = ("max_redirects", "retry_wait_s", "host_pause_s")
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and (value < 0 or not (value or name in may_be_zero)):
                bound = ">= 0" if name in may_be_zero else "> 0"
                raise ValueError(f"{name} must be {bound}, got {value}")
        if self.max_pixels > MAX_PIXELS:
            raise ValueError(f"max_pixels must be at most {MAX_PIXELS}, got {self.max_pixels}")


DEFAULTS = ImageConfig()


def scheme_of(image_uri: str) -> str:
    """Return the scheme of an image's address in small letters; empty for a plain path.

    Raises:
        RecordError: at stage "media"; it is no address at all.
    """
    if image_uri[:5].lower() == "data:":
        return "data"  # urlsplit keeps what it split, and images are large
    try:
        return urlsplit(image_uri).scheme
    except ValueError as error:
        raise RecordError("media", f"image_uri must be a URI, got: {error}") from error


def load_image(uri: str, *, base_dir: Path | None, config: ImageConfig = DEFAULTS) -> bytes:
    """Load an image that is not on the network, still encoded as it was stored, and check it.

    Args:
        uri: see `load_local`.
        base_dir: see `load_local`.
        config: the limits of an image.

    Raises:
        RecordError: at stage "media"; the image cannot be had, is too large or is none.
    """
    image = load_local(uri, base_dir=base_dir, max_bytes=config.max_bytes)
    check_image(image, max_bytes=config.max_bytes, max_pixels=config.max_pixels)
    return image


def load_local(uri: str, *, base_dir: Path | None, max_bytes: int) -> bytes:
    """Load what lies inline or in the data folder; `catalog.images.fetcher` has the rest.

    Args:
        uri: `data:`, a `file:` URI or a path.
        base_dir: the data folder. Paths start there and may not leave it, not even by a link; None
            allows no files at all.
        max_bytes: the largest that is taken.

    Raises:
        RecordError: at stage "media"; it cannot be had, or is too large.
    """
    if scheme_of(uri) == "data":
        return _inline(uri, max_bytes=max_bytes)
    return _from_file(_path_of(uri), base_dir=base_dir, max_bytes=max_bytes)


def data_uri(image: bytes) -> str:
    """Return the `data:` URI that carries an image inside a record.

    Example:
        >>> data_uri(b"GIF")
        'data:application/octet-stream;base64,R0lG'
    """
    return f"data:application/octet-stream;base64,{base64.b64encode(image).decode()}"


def _inline(uri: str, *, max_bytes: int) -> bytes:
    head, comma, payload = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise RecordError("media", "a data: URI must have the form data:<type>;base64,<image>")
    payload = without_space(unquote(payload) if "%" in payload else payload)
    check_size(len(payload) * 3 // 4 - payload.count("=", -2), max_bytes=max_bytes)
    try:
        return decode_base64(payload)
    except ValueError as error:
        raise RecordError("media", f"the data: URI is not base64: {error}") from error


def _path_of(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    if not parts.scheme and not parts.netloc:
        return uri
    raise RecordError(
        "media",
        "image_uri must be a data:, http:, https:, s3: or local file: URI or a path, got "
        f"{parts.scheme}://{parts.netloc}",
    )


def _from_file(path: str, *, base_dir: Path | None, max_bytes: int) -> bytes:
    if base_dir is None:
        raise RecordError(
            "media", "image_uri is a path but this source has no data folder; send it inline"
        )
    try:
        root = base_dir.resolve()
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            raise RecordError("media", f"image_uri must stay inside the data folder, got {path!r}")
        if not file.is_file():
            raise RecordError(
                "media", f"image_uri must name a file of the data folder, got {path!r}"
            )
        check_size(file.stat().st_size, max_bytes=max_bytes)
        return file.read_bytes()
    except RecordError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # unreadable; NUL in it; a loop of links
        raise RecordError("media", f"image_uri must be readable, got {path!r}: {error}") from error
