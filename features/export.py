"""Feature tables as Parquet, one folder per day, with a manifest that says what they hold.

The manifest is the table: it names its files, whose names carry a digest of their content, and it
is put in place by one rename once all of them are there. A reader sees the old export or the new
one, a crash leaves the old one. Each day that is done has a note beside it, by which an export that
was stopped goes on, days are written by several processes, and a day that cannot change is not made
again.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from catalog.atomic_file import write_atomically
from features.behaviour_spaces import SUFFIX, BehaviourSpaces
from features.centring import Centring
from features.schema import Feature, check_values, schema_hash
from features.table import FeatureTable

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenDay:
    """A day of an export: what its note says."""

    day: date

    path: str
    """Of its file, below the export's folder."""

    digest: str
    num_rows: int
    num_requests: int
    first_ts: datetime
    last_ts: datetime

    settled: bool
    """Whether its requests and their answers stay as they are."""

    num_with_vector: int
    """Rows whose candidate has a vector; 0 where no feature says so."""

    nulls: dict[str, int]
    """Rows without a value, by feature; those of none are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A folder of feature tables by day, all made alike."""

    folder: Path
    features: tuple[Feature, ...]
    centring: Centring
    config: Mapping[str, Any]

    @property
    def schema_hash(self) -> str:
        """Identity of the columns; see `features.schema.schema_hash`."""
        return schema_hash(self.features, self.config)

    @property
    def id(self) -> str:
        """Identity of everything that decides a value besides the data."""
        text = f"{self.schema_hash} {self.centring.id}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def write_day(self, table: FeatureTable, *, settled: bool) -> WrittenDay:
        """Write the rows of one day (UTC), and the note that it is done.

        Raises:
            ValueError: a value that its feature cannot have.
        """
        check_values(table.frame, self.features)
        names = [feature.name for feature in self.features]
        given = [name for name in table.frame.columns if name not in _names(table.features)]
        rows = table.frame.select(given + names)
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd")
        content = buffer.getvalue()
        digest = _digest(content)
        first, last = rows["ts"].min(), rows["ts"].max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        path = _folder_of(first.date()) / f"part-{digest}.parquet"
        if not (self.folder / path).exists():
            write_atomically(self.folder / path, content)
        done = WrittenDay(
            day=first.date(),
            path=path.as_posix(),
            digest=digest,
            num_rows=len(rows),
            num_requests=table.num_requests,
            first_ts=first,
            last_ts=last,
            settled=settled,
            num_with_vector=int(rows["has_vector"].sum()) if "has_vector" in names else 0,
            nulls={name: rows[name].null_count() for name in names if rows[name].null_count()},
        )
        write_atomically(self._note(done.day), msgspec.json.encode(done))
        return done

    def written(self, day: date) -> WrittenDay | None:
        """Return what is there of a day; None when it was never done, or not alike."""
        try:
            done = msgspec.json.decode(self._note(day).read_bytes(), type=WrittenDay)
        except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
            return None
        return done if (self.folder / done.path).exists() else None

    def drop_day(self, day: date) -> None:
        """Forget a day: it has no requests any more."""
        self._note(day).unlink(missing_ok=True)

    def finish(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Put the manifest of all days that are done in place, and return it.

        What another export left there, and days that are not alike, go.

        Args:
            about: what else the manifest is to say, as plain values.

        Raises:
            ValueError: no day is there; an empty export would hide a broken source.
        """
        days = [date.fromisoformat(path.name[5:]) for path in self.folder.glob("date=*")]
        done = [each for day in sorted(days) if (each := self.written(day)) is not None]
        if not done:
            raise ValueError("an export must have rows, got none; look at the impressions it is of")
        if self.centring.behaviour is not None:
            self.centring.behaviour.save(self.folder)
        manifest = _vouched(self._manifest(done, about))
        text = json.dumps(manifest, indent=1, default=str)
        path = self.folder / MANIFEST
        if not path.exists() or path.read_text() != text:
            write_atomically(path, text)
        self._remove_other_spaces()
        self._remove_strays({each.path for each in done} | {self._name_of_note(d) for d in days})
        return manifest

    def _manifest(self, done: Sequence[WrittenDay], about: Mapping[str, Any]) -> dict[str, Any]:
        first = pl.read_parquet_schema(self.folder / done[0].path)
        return {
            "schema_hash": self.schema_hash,
            "model_version": self.centring.model_version,
            **about,
            "columns": list(first),
            "features": [asdict(feature) for feature in self.features],
            "num_rows": sum(each.num_rows for each in done),
            "num_requests": sum(each.num_requests for each in done),
            "first_ts": min(each.first_ts for each in done),
            "last_ts": max(each.last_ts for each in done),
            "centring": self.centring.plain,
            "config": self.config,
            "partitions": [asdict(each) for each in done],
        }

    def _name_of_note(self, day: date) -> str:
        return (_folder_of(day) / f".{self.id}.json").as_posix()

    def _note(self, day: date) -> Path:
        return self.folder / self._name_of_note(day)

    def _remove_other_spaces(self) -> None:
        spaces = self.centring.behaviour
        for path in self.folder.glob(f"*{SUFFIX}"):
            if spaces is None or spaces.id not in path.name:
                path.unlink(missing_ok=True)

    def _remove_strays(self, kept: set[str]) -> None:
        """Remove days and parts that the manifest does not name."""
        for path in self.folder.glob("date=*/*"):
            if path.relative_to(self.folder).as_posix() not in kept:
                path.unlink(missing_ok=True)
        for day in self.folder.glob("date=*"):
            if not any(day.iterdir()):
                day.rmdir()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of an export.

    Raises:
        ValueError: there is none, so nothing was exported to the end there; it was written by an
            older code; or it was edited.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ValueError(f"an export must have a {MANIFEST}, got none in {folder}; export first")
    manifest = dict(json.loads(path.read_text()))
    if "centring" not in manifest or "digest" not in manifest:
        raise ValueError(f"{path} must be of this code, got one of an older code; export again")
    told = {name: value for name, value in manifest.items() if name != "digest"}
    if _vouched(told)["digest"] != manifest["digest"]:
        raise ValueError(f"{path} must be as it was written, got an edited one; export again")
    return manifest


def _vouched(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with its own digest: 16 hexadecimal digits that change with any of it."""
    text = json.dumps(told, sort_keys=True, default=str)
    return {"digest": hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), **told}


def drop_damaged(folder: Path, manifest: Mapping[str, Any]) -> int:
    """Remove files that are not those a manifest names, so that their days are made again.

    Returns:
        Days whose file was lost or is another one.
    """
    parts = manifest["partitions"]
    damaged = [part for part in parts if _digest(_content(folder, part)) != part["digest"]]
    for part in damaged:
        (folder / part["path"]).unlink(missing_ok=True)
    return len(damaged)


def data_hash(manifest: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change with any row of the export."""
    digests = " ".join(part["digest"] for part in manifest["partitions"])
    return hashlib.blake2b(digests.encode(), digest_size=8).hexdigest()


def read_export(folder: Path) -> FeatureTable:
    """Read the table that was written to `folder`, rows by day and then as they came.

    Raises:
        ValueError: no manifest, or the files are not the ones it names.
    """
    manifest = read_manifest(folder)
    try:
        features = tuple(Feature(**row) for row in manifest["features"])
    except TypeError as error:
        raise ValueError(f"{folder / MANIFEST} is of another code; export again") from error
    columns = manifest["columns"]
    parts = [_read_part(folder, part, columns) for part in manifest["partitions"]]
    if schema_hash(features, manifest["config"]) != manifest["schema_hash"]:
        raise ValueError(
            f"{folder / MANIFEST} must hold the hash of its own features, got "
            f"{manifest['schema_hash']}; it is of another code, so export again"
        )
    centring = Centring.of_plain(
        manifest["centring"], lambda spaces_id: BehaviourSpaces.load(folder, spaces_id)
    )
    return FeatureTable(pl.concat(parts), features, centring, manifest["config"])


def _names(features: Sequence[Feature]) -> set[str]:
    return {feature.name for feature in features}


def _folder_of(day: date) -> Path:
    return Path(f"date={day.isoformat()}")


def _read_part(folder: Path, part: dict[str, Any], columns: list[str]) -> pl.DataFrame:
    content = _content(folder, part)
    if (digest := _digest(content)) != part["digest"]:
        raise ValueError(
            f"{folder / part['path']} must be the file its manifest names, got digest {digest} for "
            f"{part['digest']}; it was changed or lost, so export again"
        )
    return pl.read_parquet(io.BytesIO(content), hive_partitioning=False).select(columns)


def _content(folder: Path, part: Mapping[str, Any]) -> bytes:
    """Return what is in the file of a day; nothing of one that is gone."""
    path = folder / part["path"]
    return path.read_bytes() if path.exists() else b""


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
