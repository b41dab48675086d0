"""Pages out of the event log: what was shown together, and what became of it.

Clients share request ids, leave them out, keep one for a whole session, and their clocks are off.
None of that may stop a night or reach a page that is right: each rule below looks at one user's
events of one request id, and what cannot be used is counted by reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from catalog.lake.tables import LANDED_AT, TIME
from features.answered_pages import ID, answered_pages
from features.histories import HistoryConfig, positive_events
from features.landings import BEGINNING, Landings, settling
from features.page_starts import in_time, landed_late

RELEVANCE: Mapping[str, int] = {"view": 1, "click": 1, "like": 2, "purchase": 2, "rating": 2}
"""What liking a shown item is worth to the ranker, by how it was said; 0 is not liked. What counts
as liked, such as a rating from 3.5 on, says `features.histories.positive_events`."""

TOLD_WITHIN = timedelta(hours=1)
"""An event that newer requests landed before is counted as late when they are newer by more."""

MIN_LIKED_SHARE = 0.1
"""Of what was liked, at least so much must be liked on pages, for a ranker to learn from pages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageCounts:
    """How the log became pages, and what was left out of them or mended, by reason."""

    pages: int
    impressions: int
    """Items shown on the pages, each a row."""

    liked: int
    """Impressions with an answer that says the item was liked."""

    impressions_without_request: int
    """Left out: impression events whose request_id is absent or blank."""

    liked_without_impression: int
    """Left out of relevance: liked events whose request never showed their item to their user, or
    that name none. They are history all the same."""

    events_before_page: int
    """Events stamped before the page that they answer; dated to the page's time."""

    shared_requests: int
    """Request ids of several users; a page for each user."""

    lasting_requests: int
    """Requests of a user that went on longer than a page lasts; a page for each such time."""

    oversized_pages: int
    """Left out: pages of more items than a ranker can take."""

    late_impressions: int = 0
    """Left out: impressions that landed after the pages of their day had settled."""

    late_answers: int = 0
    """Left out of relevance: likes that landed after their page's day had settled. They are
    history from then on."""

    late_events: int = 0
    """Events that landed after requests that are newer by more than an hour. They are dated to the
    newest of these, for until then nobody knew of them; less late ones are as well."""

    @classmethod
    def together(cls, parts: "Sequence[PageCounts]", *, shared_requests: int) -> "PageCounts":
        """Return what parts of a log by users come to; shared by users of whatever parts."""
        names = [name for name in cls.__dataclass_fields__ if name != "shared_requests"]
        sums = {name: sum(getattr(part, name) for part in parts) for name in names}
        return cls(**sums, shared_requests=shared_requests)

    def oddities(self) -> dict[str, int]:
        """Return what was left out or mended, by reason, without reasons that never occurred.

        A log that shows nothing at all, such as one of ratings, has nothing odd about it.
        """
        if not (self.pages or self.oversized_pages or self.impressions_without_request):
            return {}
        right = ("pages", "impressions", "liked")
        counts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: count for name, count in counts.items() if count and name not in right}


@dataclass(frozen=True, slots=True, eq=False)
class LogDates:
    """What of a whole log tells how any of its events is dated, and what is late."""

    landings: Landings

    settling: pl.DataFrame
    """day, settles_at; see `Pages.settling`."""

    @classmethod
    def of(cls, events: pl.DataFrame | pl.LazyFrame) -> "LogDates":
        """Look at the impressions of a log; see `pages_of`."""
        asked = events.lazy().with_columns(request_id=_present(pl.col("request_id")))
        return cls(Landings.of(asked), settling(asked.filter(IN_PAGES)))


@dataclass(frozen=True, slots=True, eq=False)
class Pages:
    """The pages of a log."""

    impressions: pl.DataFrame
    """request_id str, user_id str, item_id str, ts datetime of the page, relevance i32,
    position i32; sorted by ts, request_id, user_id, item_id. An item shown twice on one page is
    one row, at the first place of the two; null where the log does not tell the place."""

    events: pl.DataFrame
    """All events of the log, in order, as features must be told of them: a blank request_id is
    null, no event of a page is earlier than it, and none than the requests that were in the lake
    before it. What answers a page, was stamped before it by a client's slow clock, or came late is
    so never part of what was known when the page was made."""

    counts: PageCounts

    settling: pl.DataFrame
    """day, settles_at: from when on the pages of a day (UTC) and their answers stay as they are."""

    evidence: "PageEvidence"

    request_ids: pl.Series
    """Ids of requests, an id once for each user who has it; see `PageCounts.shared_requests`."""

    def teach(self) -> bool:
        """Return whether a ranker is to learn from the pages, and not from the log as ratings."""
        return self.evidence.teaches()


@dataclass(frozen=True, kw_only=True, slots=True)
class PageEvidence:
    """Whether there is enough in pages to learn from."""

    liked: int
    """Liked events of the log."""

    on_pages: int
    """Those that answer an impression of the pages."""

    first_ts: datetime | None
    last_ts: datetime | None
    """The times of the oldest and the newest page; None without pages."""

    @classmethod
    def together(cls, parts: "Sequence[PageEvidence]") -> "PageEvidence":
        """Return what parts of a log by users come to."""
        return cls(
            liked=sum(part.liked for part in parts),
            on_pages=sum(part.on_pages for part in parts),
            first_ts=min((p.first_ts for p in parts if p.first_ts is not None), default=None),
            last_ts=max((p.last_ts for p in parts if p.last_ts is not None), default=None),
        )

    def teaches(self) -> bool:
        """Return whether a ranker is to learn from the pages, and not from the log as ratings.

        One page more or less decides nothing: a tenth of what was liked must be liked on pages,
        and not all pages may be of one moment, for the newest are what a ranker is tested on.
        """
        share = self.on_pages / max(self.liked, 1)
        return share >= MIN_LIKED_SHARE and self.first_ts != self.last_ts


def pages_of(
    events: pl.DataFrame,
    *,
    max_items: int | None = None,
    config: HistoryConfig | None = None,
    dates: LogDates | None = None,
) -> Pages:
    """Return every item shown on a page, with the best that came of it, and the log as it was then.

    A page is what one user was shown under one request_id within an hour of its first impression,
    which gives the page its time. An event answers the page of its user and request_id that showed
    its item, whatever the clock says; of several such pages, the newest not after it, else the
    first. No event is taken along by a page that landed when this would have changed rows of days
    that had settled; see `features.answered_pages`.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order; with `landed_at`, where it is
            known, as `catalog.lake.lake.Lake.scan_landed` gives it.
        max_items: longer pages are left out of `impressions`; None keeps all.
        config: what is liked; the default when None.
        dates: of the whole log, where these are all events of some of its users; then the pages and
            events of all parts together are those of the log, as are the sums of their counts but
            for `shared_requests`. None: these are the log.
    """
    liked_config = config or HistoryConfig()
    events = events.with_columns(request_id=_present(pl.col("request_id")))
    if LANDED_AT not in events.columns:
        events = events.with_columns(pl.lit(None, TIME).alias(LANDED_AT))
    dates = dates or LogDates.of(events)
    settles = dates.settling
    landed = events.filter(IN_PAGES)
    paged = in_time(landed, settles)
    known = pl.col(LANDED_AT).fill_null(BEGINNING)
    impressions = paged.group_by(*ID, "item_id", ts="page_ts").agg(
        pl.col("position").min(), known.min()
    )
    known_from = dates.landings.known_from(events, "ts")
    showing, page = answered_pages(events, impressions, known_from, settles)
    impressions = impressions.drop(LANDED_AT)
    dated = events.with_columns(ts=pl.max_horizontal("ts", page, known_from)).drop(LANDED_AT)
    is_late = landed_late(events, showing, settles)
    answered = showing.zip_with(~is_late, pl.Series([None], dtype=showing.dtype))
    liked = positive_events(events.with_columns(page_ts=answered), config=liked_config)
    kept = impressions if max_items is None else _without_oversized(impressions, max_items)
    rows = _with_relevance(kept, liked)
    on_pages = liked.join(
        kept, left_on=[*ID, "item_id", "page_ts"], right_on=[*ID, "item_id", "ts"], how="semi"
    )
    request_ids = impressions.select(*ID).unique()["request_id"]
    counts = PageCounts(
        pages=_num_pages(kept),
        impressions=len(kept),
        liked=int((rows["relevance"] > 0).sum()),
        impressions_without_request=int((events["action"] == "impression").sum()) - len(landed),
        liked_without_impression=liked["page_ts"].null_count(),
        events_before_page=int((events["ts"] < page).sum()),
        shared_requests=num_shared(request_ids),
        lasting_requests=_num_mixed(impressions, list(ID), "ts"),
        oversized_pages=_num_pages(impressions) - _num_pages(kept),
        late_impressions=len(landed) - len(paged),
        late_answers=len(positive_events(events.filter(is_late), config=liked_config)),
        late_events=int((known_from - events["ts"] > TOLD_WITHIN).sum()),
    )
    first, last = rows["ts"].min(), rows["ts"].max()
    evidence = PageEvidence(
        liked=len(liked),
        on_pages=len(on_pages),
        first_ts=first if isinstance(first, datetime) else None,
        last_ts=last if isinstance(last, datetime) else None,
    )
    return Pages(rows, dated, counts, settles, evidence, request_ids)


def num_shared(request_ids: pl.Series | pl.LazyFrame) -> int:
    """Return how many ids are there more than once, of `Pages.request_ids` of any parts."""
    ids = request_ids.to_frame().lazy() if isinstance(request_ids, pl.Series) else request_ids
    shared = ids.group_by("request_id").agg(users=pl.len()).filter(pl.col("users") > 1)
    return int(shared.select(pl.len()).collect(engine="streaming").item())


IN_PAGES = (pl.col("action") == "impression") & pl.col("request_id").is_not_null()
"""Which events show an item on a page; a blank request_id is null by then."""


def _present(text: pl.Expr) -> pl.Expr:
    """Return the text; null where it is blank."""
    return pl.when(text.str.strip_chars() != "").then(text)


def _with_relevance(impressions: pl.DataFrame, liked: pl.DataFrame) -> pl.DataFrame:
    """Add the worth of the best answer to each impression, 0 without one, and sort."""
    keys = [*ID, "item_id", "ts"]
    worth = pl.col("action").replace_strict(dict(RELEVANCE), return_dtype=pl.Int32, default=1)
    best = liked.group_by(*ID, "item_id", ts="page_ts").agg(relevance=worth.max())
    return (
        impressions.join(best, on=keys, how="left")
        .select(*keys, pl.col("relevance").fill_null(0), "position")
        .sort("ts", *ID, "item_id")
    )


def _without_oversized(impressions: pl.DataFrame, max_items: int) -> pl.DataFrame:
    return impressions.filter(pl.len().over(*ID, "ts") <= max_items)


def _num_pages(impressions: pl.DataFrame) -> int:
    return impressions.select(pl.struct(*ID, "ts").n_unique()).item() if len(impressions) else 0


def _num_mixed(impressions: pl.DataFrame, by: list[str], column: str) -> int:
    """Return how many groups hold more than one value of the column."""
    values = impressions.group_by(by).agg(pl.col(column).n_unique())
    return len(values.filter(pl.col(column) > 1))
