"""Which model versions have a collection in Milvus, and which of them is live.

A new version is filled beside the old one, and then an alias moves: queries see one or the other.
The alias follows what `catalog.lake.index_versions` says is live.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from pymilvus import MilvusClient
from pymilvus.exceptions import ConnectionConfigException, MilvusException

from recall import lite_folder
from recall.client import TimedClient
from recall.collection import CODES, IndexConfig, channel_options, collection_name, version_of
from recall.crowds import Crowds
from recall.errors import NotFound, Unavailable
from recall.filters import Filter
from recall.index_kinds import IndexKind

LIVE_MAX_AGE_S = 1.0

logger = logging.getLogger(__name__)


def _connected(config: IndexConfig) -> MilvusClient:
    try:
        return MilvusClient(
            uri=config.uri, token=config.token, grpc_options=channel_options(config.uri)
        )
    except ConnectionConfigException as error:
        raise Unavailable(
            f"{config.shown_uri!r} must be a Milvus address, or a path in an existing folder that "
            "ends in .db"
        ) from error
    except MilvusException as error:
        said = str(error).replace(config.uri, config.shown_uri)
        raise Unavailable(f"Milvus at {config.shown_uri!r} does not answer: {said}") from error


class Versions:
    """The collections of one alias, one per model version."""

    def __init__(
        self,
        client: MilvusClient,
        config: IndexConfig,
        *,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Use a client that is connected already.

        Args:
            client: closed with the index.
            config: of the same Milvus.
            on_close: called after that.
        """
        self._dims: dict[str, int] = {}  # D of collections that are in Milvus's memory, by name
        self._kinds: dict[str, IndexKind] = {}
        self._with_codes: dict[str, bool] = {}
        self._live: tuple[float, str | None] | None = None
        self._client = TimedClient(client, timeout_s=config.call_timeout_s, on_failure=self._forget)
        self._crowds = Crowds(self._client, max_identical=config.max_identical)
        self._on_close = on_close
        self.config = config

    @classmethod
    def open(cls, config: IndexConfig) -> Self:
        """Open an index on the Milvus that the config names.

        A Milvus Lite folder that another process holds is waited for.

        Raises:
            Unavailable: a server that does not answer, or a Milvus Lite folder that another process
                holds for longer than `folder_wait_s`.
        """
        if not config.is_lite:
            return cls(_connected(config), config)
        with ExitStack() as undone:
            if not lite_folder.hold(config.uri, wait_s=config.folder_wait_s):
                raise Unavailable(
                    f"{config.uri!r} must be held by no other process, but one held it for "
                    f"{config.folder_wait_s:g} s; wait for its end, or give both a Milvus server"
                )
            undone.callback(lite_folder.give_back, config.uri)
            return cls(_connected(config), config, on_close=undone.pop_all().close)

    def _forget(self) -> None:
        """Ask Milvus again: one that has started anew has nothing in memory."""
        self._dims.clear()
        self._kinds.clear()
        self._with_codes.clear()
        self._crowds.forget()
        self._live = None

    def close(self) -> None:
        """Give back the connection, and a Milvus Lite folder with it."""
        self._client.close()
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def versions(self) -> list[str]:
        """Return the model versions that have a collection, sorted."""
        names = self._client.list_collections()
        return sorted(v for name in names if (v := version_of(self.config.alias, name)) is not None)

    def live_version(self) -> str | None:
        """Return the version that queries are answered from; None before the first promotion.

        Asked of Milvus once a second at most, and after every switch by this process.
        """
        now, known = time.monotonic(), self._live
        if known is None or now - known[0] > LIVE_MAX_AGE_S:
            known = self._live = now, self._version_behind(self.config.alias)
        return known[1]

    def promote(self, version: str) -> None:
        """Lead the alias to `version`; which one that is, and was before, the lake remembers.

        It moves in one step, so no query sees a mixture.

        Raises:
            NotFound: the version has no collection.
            RuntimeError: Milvus took the switch but does not answer from the version.
        """
        self._collection(version)  # in memory before the alias leads to it
        live = self._version_behind(self.config.alias)
        if live == version:
            return
        self._point(self.config.alias, version)
        self._verify_live(version)
        logger.info("alias=%s version=%s before=%s", self.config.alias, version, live)

    def drop(self, version: str) -> None:
        """Remove the version's vectors; they can be synced again from the lake.

        Raises:
            NotFound: the version has no collection.
            ValueError: the version is live.
        """
        self.dim(version)
        if version == self._version_behind(self.config.alias):
            raise ValueError(f"version {version!r} is live; promote another one before dropping it")
        name = collection_name(self.config.alias, version)
        self._client.drop_collection(name)
        self._dims.pop(name, None)
        self._kinds.pop(name, None)
        self._with_codes.pop(name, None)
        self._crowds.forget()

    def dim(self, version: str) -> int:
        """Return D, the length of the version's vectors.

        Raises:
            NotFound: the version has no collection.
        """
        name = self._collection(version)
        return self._dims.get(name) or self._described_dim(name)

    def index_kind(self, version: str) -> IndexKind:
        """Return the kind of index that the version's collection has, whatever the config says now.

        Raises:
            NotFound: the version has no collection.
        """
        name = self._collection(version)
        if name not in self._kinds:
            self._kinds[name] = self._client.describe_index(name, "vector")["index_type"]
        return self._kinds[name]

    def has_codes(self, name: str) -> bool:
        """Whether a collection holds codes; one that an earlier release made does not."""
        if name not in self._with_codes:
            fields = self._client.describe_collection(name)["fields"]
            self._with_codes[name] = any(field["name"] == CODES for field in fields)
        return self._with_codes[name]

    def expression(self, filter: Filter, version: str) -> str:
        """Return a filter as Milvus takes it.

        Raises:
            Unavailable: it asks for codes, which the collection does not hold.
        """
        if filter.code_prefixes is not None and not self.has_codes(self._collection(version)):
            raise Unavailable(
                f"the collection of version {version!r} was made before there were codes; while "
                "another version is live, ponder drop it and ponder index again"
            )
        return filter.expression()

    def _collection(self, version: str) -> str:
        """Return the name of the version's collection, which is in memory from then on."""
        name = collection_name(self.config.alias, version)
        if name in self._dims:
            return name
        if not self._client.has_collection(name):
            raise NotFound(
                f"version {version!r} must have a collection, got {self.versions()}; sync it first"
            )
        self._client.load_collection(name)  # Milvus Lite has none in memory when it is opened
        self._dims[name] = self._described_dim(name)
        return name

    def _described_dim(self, name: str) -> int:
        fields = self._client.describe_collection(name)["fields"]
        return next(int(f["params"]["dim"]) for f in fields if f["name"] == "vector")

    def _version_behind(self, alias: str) -> str | None:
        if not self._client.has_collection(alias):
            return None
        name = self._client.describe_collection(alias)["collection_name"]
        return version_of(self.config.alias, name)

    def _point(self, alias: str, version: str) -> None:
        name = collection_name(self.config.alias, version)
        if self._client.has_collection(alias):
            self._client.alter_alias(name, alias)
        else:
            self._client.create_alias(name, alias)
        self._live = None

    def _verify_live(self, version: str) -> None:
        live = self._version_behind(self.config.alias)
        if live != version:
            raise RuntimeError(
                f"alias {self.config.alias!r} must lead to version {version!r} after the switch, "
                f"got {live!r}; is another process promoting too?"
            )
        self._client.query(self.config.alias, filter="", limit=1, output_fields=["item_id"])
