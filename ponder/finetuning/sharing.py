"""What a fine-tune shares with other machines while a stage of it runs."""

from contextlib import AbstractContextManager
from pathlib import Path

from ponder.settings import Settings
from ponder.wiring.artifacts import shared


def shared_run(settings: Settings, folder: Path) -> AbstractContextManager[None]:
    """Fetch the registry, the evaluation sets and a run's folder, and bring back what changes.

    A run elsewhere than among the deployment's is this machine's own. Of several processes of one
    machine each does it; the files are the same.

    Args:
        settings: the deployment.
        folder: of the run.
    """
    is_ours = folder.parent == settings.finetunes_folder
    return shared(
        settings, "models", "evaluation", *([f"finetune/{folder.name}"] if is_ours else [])
    )
