"""Whether Milvus answers and holds what the lake says is live."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from catalog.lake.index_versions import IndexVersions
from ponder.doctor.problem import Problem, said
from ponder.settings import Settings
from ponder.wiring.stores import open_index, open_lake

if TYPE_CHECKING:
    from recall.index import ItemIndex


def check_index(settings: Settings) -> Iterator[Problem]:
    """Yield a Milvus server that does not answer, and a live version that it does not serve.

    Milvus Lite is left alone: its folder has one holder at a time, and answers no query.
    """
    from recall.errors import IndexFailed, Unavailable

    if settings.is_embedded:
        return
    try:
        with open_index(settings) as milvus:
            yield from _unserved(settings, milvus)
    except (Unavailable, IndexFailed) as error:
        yield Problem(
            check="index",
            what=said(error),
            remedy="see that Milvus runs and can be reached from here, and that PONDER_MILVUS and "
            "PONDER_MILVUS_TOKEN are its own",
        )


def _unserved(settings: Settings, milvus: "ItemIndex") -> Iterator[Problem]:
    live, held = IndexVersions(open_lake(settings)).live(), milvus.versions()
    if live is not None and live not in held:
        yield Problem(
            check="index",
            what=f"live version {live!r} must have a collection, got {held}",
            remedy="fill it from the lake: `ponder index`",
        )
    elif live is not None and milvus.live_version() != live:
        yield Problem(
            check="index",
            what=f"Milvus must serve {live!r} as the lake says, got {milvus.live_version()!r}",
            remedy="run `ponder index`, which leads the alias there",
        )
