"""What an item shows: images, a clip and a sound, by their addresses and as bytes."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from catalog.images.image import REMOTE_SCHEMES, ImageUnavailable, scheme_of
from catalog.records import Item, RecordError

Kind = Literal["image", "clip", "audio"]

CALLED: Mapping[Kind, str] = {"image": "image", "clip": "clip", "audio": "sound"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What an item shows, each still encoded as it came, and checked."""

    image: bytes | None = None
    gallery: tuple[bytes, ...] = ()
    """Its further images, in their order."""

    clip: bytes | None = None
    audio: bytes | None = None


NOTHING_SHOWN = Shown()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a thing that an item shows is."""

    uri: str
    kind: Kind

    field: str = dataclasses.field(compare=False)
    """Of the record, that named it."""

    @property
    def is_remote(self) -> bool:
        """Return whether it must be fetched over the network.

        Raises:
            RecordError: at stage "media"; it is no address.
        """
        try:
            return scheme_of(self.uri) in REMOTE_SCHEMES
        except RecordError as error:
            raise self.told_of(error) from error

    def told_of(self, error: RecordError) -> RecordError:
        """Return an error that was raised for an image in the words for what this is.

        Who fetches knows of no fields but `image_uri` and of nothing but images.
        """
        reason = str(error).replace("image_uri", self.field)
        if self.kind != "image":
            called = CALLED[self.kind]
            reason = reason.replace("an image", f"a {called}").replace("the image", f"the {called}")
        if isinstance(error, ImageUnavailable):
            return ImageUnavailable(reason)
        return RecordError(error.stage, reason)


def addresses_of(item: Item) -> list[Address]:
    """Return where all that an item shows is: its image, further images, its clip, its sound."""
    if item.deleted:
        return []
    found = [Address(item.image_uri, "image", "image_uri")] if item.image_uri else []
    found += [Address(uri, "image", "image_uris") for uri in item.image_uris]
    found += [Address(item.video_uri, "clip", "video_uri")] if item.video_uri else []
    return found + ([Address(item.audio_uri, "audio", "audio_uri")] if item.audio_uri else [])
