"""Which folders of fine-tunes may go: what they made is in the registry, or nobody wants it."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ponder.settings import Settings
from ponder.wiring.artifacts import sharing

DAY_S = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class RetiredRuns:
    """Which runs of fine-tunes went, and which stay."""

    retired: tuple[str, ...]
    left: tuple[str, ...]


@sharing("finetune")
def retire_runs(settings: Settings, *, now: float | None = None) -> RetiredRuns:
    """Remove the folders of runs that nobody has written to for `keep_runs_days`.

    A registered version is a copy, and stays. A folder without a `config.json` is no run.

    Args:
        settings: the deployment.
        now: seconds since 1970; None: those of this machine.
    """
    before = (time.time() if now is None else now) - settings.keep_runs_days * DAY_S
    runs = sorted(path.parent for path in settings.finetunes_folder.glob("*/config.json"))
    old = [folder for folder in runs if _last_written(folder) < before]
    for folder in old:
        shutil.rmtree(folder)
    left = [folder.name for folder in runs if folder not in old]
    return RetiredRuns(retired=tuple(folder.name for folder in old), left=tuple(left))


def _last_written(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
