"""A request for candidates, put to recall."""

from recall.search import Candidates, Recall
from serving.requests import RecallRequest


def answer(recall: Recall, request: RecallRequest) -> Candidates:
    """Return what `recall` finds for a request.

    Raises:
        InvalidQuery, NotFound, Unavailable: as the methods of `Recall` say.
    """
    if request.version is not None:
        recall = recall.pinned(request.version)
    top_k, filter, exclude_seen = request.top_k, request.filter, request.exclude_seen
    if request.item_id is not None:
        return recall.by_item(request.item_id, top_k=top_k, filter=filter)
    if request.user_id is not None:
        return recall.by_user(
            request.user_id, top_k=top_k, filter=filter, exclude_seen=exclude_seen
        )
    if request.history is not None:
        return recall.by_history(
            request.history, top_k=top_k, filter=filter, exclude_seen=exclude_seen
        )
    return recall.by_content(
        request.content(),
        top_k=top_k,
        filter=filter,
        policy=request.policy,
        deadline_s=None if request.deadline_ms is None else request.deadline_ms / 1000,
    )
