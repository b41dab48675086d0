"""What a fine-tune shares with other machines while a stage of it runs, and when it ends."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic

from ponder.finetuning.run import Progress, Run
from ponder.settings import Settings
from ponder.wiring.artifacts import artifact_store, shared

MAX_SHARE = 0.1
"""Of the time of a stage, what bringing its state to the store may take."""

logger = logging.getLogger(__name__)


def shared_run(settings: Settings, folder: Path) -> AbstractContextManager[None]:
    """Fetch the registry, the evaluation sets and a run's folder, and bring back what changes.

    A run elsewhere than among the deployment's is this machine's own. Of several processes of one
    machine each does it; the files are the same.

    Args:
        settings: the deployment.
        folder: of the run.
    """
    names = [f"finetune/{folder.name}"] if _is_ours(settings, folder) else []
    return shared(settings, "models", "evaluation", *names)


def bringing_back(run: Run, progress: Progress) -> Progress:
    """Return a progress that also brings what a stage has saved to the store, now and then.

    That is every `commit_every_s` seconds, or less often where it takes long. So a stage that is
    killed outright goes on from there on another machine. A store that does not take it is no
    reason to stop: the next time, or the end of the stage, brings all of it.

    Args:
        run: whose folder is brought back.
        progress: what is told as well.
    """
    store = artifact_store(run.settings) if _is_ours(run.settings, run.folder) else None
    if store is None:
        return progress
    last_at, wait_s = monotonic(), run.settings.commit_every_s

    def told(done: int) -> None:
        nonlocal last_at, wait_s
        progress(done)
        started = monotonic()
        if started - last_at < wait_s:
            return
        try:
            store.push(f"finetune/{run.folder.name}")
        except OSError as failure:
            logger.warning("what the stage saved stays on this machine for now: %s", failure)
        last_at = monotonic()
        wait_s = max(run.settings.commit_every_s, (last_at - started) / MAX_SHARE)

    return told


def _is_ours(settings: Settings, folder: Path) -> bool:
    return folder.parent == settings.finetunes_folder
