"""Model versions: immutable folders, each with an identity that its vectors carry.

A version is a folder of safetensors weights, processor files and a `manifest.json`. Its id hashes
all of them together with the policy and the prompt template, so that whatever could change a vector
changes the id, and vectors of two ids are never compared.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from embedder.content import Policy, Side
from embedder.head_config import CONFIG_KEY as HEAD_KEY
from embedder.precision import Dtype
from embedder.prompting.audio_config import CONFIG_KEY
from embedder.prompting.template import TEMPLATE_VERSION

SHIPPED = {
    "nano": Path(__file__).parent / "nano" / "checkpoint",
    "nano-base": Path(__file__).parent / "nano" / "base",
    "small": Path(__file__).parent / "small" / "checkpoint",
}
"""The model versions that ship with the project: nano, what it was fine-tuned from, and small."""

ENGINE_VERSION = 2
"""Part of every model version's identity: raise it whenever a change of the code changes a vector
by more than the stated 1e-5, e.g. how images are resized or where a text is cut."""

# Weights and processors only. Pickled weights and code are never fetched, read or hashed.
READ_PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.jinja")


Readout = Literal["at", "before", "mean"]
"""Where a vector is read: at the embedding token, at the token before it, or the mean of both
states."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a version is called and how it is used."""

    name: str
    """Human part of the id; letters, digits, dot, dash and underscore."""

    query_instruction: str = "Represent the query to find the item it asks for."
    item_instruction: str = "Represent the item so that queries for it find it."

    instructions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Sources of training pairs that have a query and an item instruction of their own, by name."""

    dims: tuple[int, ...] = ()
    """Matryoshka prefixes it was trained for, ascending, full dimension last; empty: only full."""

    theta: float = 0.5
    """Policy `auto` reasons when the gate's probability is at least this, in [0, 1]."""

    max_text_tokens: int = 512
    """Content text is cut after so many tokens."""

    max_image_tokens: int = 768
    """A larger image is scaled down until it is so many tokens. Qwen3-VL's own limit is 16,384,
    which is meant for reading documents; Embed-RL trains it with 128 to 768."""

    clip_fps: float = 2.0
    """Frames of a clip that are read for each of its seconds."""

    max_clip_frames: int = 16
    """Of a clip that lasts longer the frames are farther apart. Qwen3-VL's own limit is 768."""

    max_clip_tokens: int = 1024
    """The frames of a clip are scaled down until they are so many tokens together."""

    max_gallery_tokens: int = 1024
    """An item's further images are scaled down until they are so many tokens together."""

    max_audio_s: float = 30.0
    """Seconds of a sound that are read, from its start, by a version with an audio encoder."""

    max_new_tokens: int = 256
    """A rationale that is longer is closed by force, and counted as a fallback."""

    readout: Readout = "at"
    """Where its vectors are read; training and encoding read alike."""

    def __post_init__(self) -> None:
        if not self.name or self.name != plain_name(self.name):
            raise ValueError(f"name must be letters, digits, '.', '_' or '-', got {self.name!r}")
        if not 0 <= self.theta <= 1:
            raise ValueError(f"theta must be in [0, 1], got {self.theta}")
        for limit in (
            *("max_text_tokens", "max_image_tokens", "max_new_tokens"),
            *("max_clip_frames", "max_clip_tokens", "max_gallery_tokens"),
        ):
            if getattr(self, limit) < 1:
                raise ValueError(f"{limit} must be at least 1, got {getattr(self, limit)}")
        for limit in ("clip_fps", "max_audio_s"):
            if not getattr(self, limit) > 0:
                raise ValueError(f"{limit} must be > 0, got {getattr(self, limit)}")
        if self.readout not in ("at", "before", "mean"):
            raise ValueError(f"readout must be at, before or mean, got {self.readout!r}")

    def instruction(self, side: Side) -> str:
        """Return what the prompt of a query or of an item says the vector is for."""
        return self.query_instruction if side == "query" else self.item_instruction

    def for_source(self, source: str) -> "Manifest":
        """Return the manifest that reads with the source's instructions; itself when it has none.

        Item instructions that differ make another vector space: an embedder that is opened with
        this manifest has an id of its own.
        """
        if source not in self.instructions:
            return self
        query_instruction, item_instruction = self.instructions[source]
        return replace(self, query_instruction=query_instruction, item_instruction=item_instruction)


LATER_FIELDS = (
    *("readout", "clip_fps", "max_clip_frames", "max_clip_tokens", "max_gallery_tokens"),
    "max_audio_s",
)
"""Of a manifest, what came after versions had been registered."""


def resolve(model: str) -> Path:
    """Return the folder of a model: a shipped one, an existing one, or a hub id, then downloaded.

    Raises:
        FileNotFoundError: the folder holds no safetensors weights. Pickled weights are refused:
            reading them can run code.
    """
    folder = SHIPPED.get(model) or fetched_folder(model)
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"{folder} must hold *.safetensors weights; convert other formats first, they are "
            "not read because they can run code"
        )
    return folder


def fetched_folder(model: str) -> Path:
    """Return an existing folder, or that of a hub id, of which what is read is then downloaded.

    Raises:
        FileNotFoundError: the name is that of a folder, and it does not exist.
    """
    if Path(model).is_dir():
        return Path(model)
    if model.startswith((".", "/")):
        raise FileNotFoundError(f"model folder {model!r} does not exist")
    from huggingface_hub import snapshot_download  # only here: most runs need no hub

    return Path(snapshot_download(model, allow_patterns=list(READ_PATTERNS)))


def plain_name(text: str) -> str:
    """Return a text as the name of a version: what is no letter, digit or `._-` becomes a dash."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


def reads_audio(folder: Path) -> bool:
    """Return whether a folder's model has an audio encoder."""
    return bool({CONFIG_KEY, "audio_config"} & _config_keys(folder))


def has_embedding_head(folder: Path) -> bool:
    """Return whether a folder's model makes its vectors with a head of its own."""
    return HEAD_KEY in _config_keys(folder)


def _config_keys(folder: Path) -> set[str]:
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    return {*config, *config.get("thinker_config", {})}


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest; one that has none gets the defaults and its folder's name.

    Raises:
        ValueError: the manifest is not a JSON object, a value is out of range, or a key is not
            known: what it says may decide a vector. (`lineage` decides none; null says nothing.)
    """
    path = folder / "manifest.json"
    if not path.exists():
        return Manifest(name=plain_name(folder.name) or "model")
    values = json.loads(path.read_text())
    if not isinstance(values, dict) or "name" not in values:
        raise ValueError(f"{path} must be a JSON object with a name")
    keys = {key.name for key in fields(Manifest)}
    told = {key for key, value in values.items() if value is not None}
    if unknown := sorted(told - keys - {"lineage"}):
        raise ValueError(
            f"{path} must have no keys but those of docs/configuration.md, got "
            f"{', '.join(unknown)}; use the version of Ponder that wrote it"
        )
    chosen = {key: value for key, value in values.items() if key in keys}
    chosen["dims"] = tuple(values.get("dims", ()))
    chosen["instructions"] = _instructions(values.get("instructions", {}))
    return Manifest(**chosen)


def _instructions(values: Any) -> dict[str, tuple[str, str]]:
    match values:
        case dict() if all(map(_is_text_pair, values.values())):
            return {source: (texts[0], texts[1]) for source, texts in values.items()}
    raise ValueError(
        "instructions must be an object of [query_instruction, item_instruction] by source, got "
        f"{values!r}"
    )


def _is_text_pair(value: Any) -> bool:
    match value:
        case [str(), str()]:
            return True
    return False


def configured_version(
    model: str, policy: Policy, *, item_theta: float | None = None, dtype: Dtype = "float32"
) -> str:
    """Return the identity of a model under a policy, without loading its weights."""
    folder = resolve(model)
    return version_id(folder, read_manifest(folder), policy, item_theta=item_theta, dtype=dtype)


def version_id(
    folder: Path,
    manifest: Manifest,
    policy: Policy,
    *,
    item_theta: float | None = None,
    dtype: Dtype = "float32",
) -> str:
    """Return name and digest of everything that decides a vector, e.g. `nano-3f2a9c1b04d7`.

    Args:
        folder: of the version.
        manifest: how it is used.
        policy: who reasons.
        item_theta: of the gate where items are embedded, if that is not the manifest's own.
        dtype: what its weights are loaded as; a registered version is called by its float32 id.
    """
    digest = hashlib.blake2b(digest_size=6)
    code = {"template": TEMPLATE_VERSION, "engine": ENGINE_VERSION}
    settings = asdict(manifest) | {"policy": policy} | code
    del settings["instructions"]  # those of a source that is chosen are the manifest's own by then
    for name in LATER_FIELDS:  # the id that it had before there were these
        if getattr(manifest, name) == Manifest.__dataclass_fields__[name].default:
            del settings[name]
    if item_theta is not None:
        settings["item_theta"] = item_theta
    if dtype != "float32":
        settings["dtype"] = dtype
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for path in _content_files(folder):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return f"{manifest.name}-{digest.hexdigest()}"


def _content_files(folder: Path) -> Iterator[Path]:
    found = {path for pattern in READ_PATTERNS for path in folder.glob(pattern)}
    yield from sorted(path for path in found if path.name != "manifest.json")
