"""Whether the embedder is there, and its reasoner answers."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from embedder.identity import SENTENCE
from embedder.pair.version import PAIR
from ponder.doctor.problem import Problem, said
from ponder.setting_values import without_password
from ponder.settings import Settings
from ponder.wiring.encoder import budgeted_theta, configured_version

CONNECT_S = 5.0


def check_model(settings: Settings) -> Iterator[Problem]:
    """Yield a model that is not there or is none, and a budget that nothing is known for."""
    try:
        if not _needs_hub(settings):
            configured_version(settings.replace(query_budget="", item_budget=""))
    except (OSError, ValueError, LookupError) as error:
        yield Problem(
            check="model",
            what=f"model {settings.model!r} must be one that can be opened, got {said(error)}",
            remedy="set PONDER_MODEL to nano, a folder with *.safetensors, a hub id, or a "
            "registered version; `ponder models list` shows these",
        )
        return
    for side in ("query", "item"):
        try:
            budgeted_theta(settings, side)
        except LookupError as error:
            yield Problem(
                check="model",
                what=f"{side}_budget needs a measured gate: {said(error)}",
                remedy="measure it: `ponder embedder report`, or unset "
                f"PONDER_{side.upper()}_BUDGET",
            )


def check_reasoner(settings: Settings) -> Iterator[Problem]:
    """Yield an endpoint of rationales that takes no connection."""
    if not settings.reasoner.startswith("openai:"):
        return
    address = urlsplit(settings.reasoner_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        yield Problem(
            check="reasoner",
            what=f"{without_password(settings.reasoner_url)} must take connections, "
            f"got {said(error)}",
            remedy="start the endpoint, correct PONDER_REASONER_URL, or unset PONDER_REASONER",
        )


def _needs_hub(settings: Settings) -> bool:
    """Whether a look at the model might download it; a folder that is not there does not."""
    name = settings.model.removeprefix(SENTENCE)
    is_named_here = name.startswith((".", "/", "registry:", PAIR)) or Path(name).is_dir()
    return not is_named_here and "/" in name
