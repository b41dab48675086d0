"""A fine-tune of a few steps: how it is asked for, killed on the way, and looked at."""

from ponder.finetuning.options import built, flattened, merged
from ponder.finetuning.promotion import PromotionConfig
from ponder.finetuning.results import RegisteredVersion

BEFORE = "2026-03-09T00:00:00+00:00"
GIVEN = {
    "before": BEFORE,
    "max_pairs": 24,
    "steps": 4,
    "gate_steps": 1,
    "batch_size": 8,
    "gate_batch_size": 8,
    "learning_rate": 1e-3,
}
CHANGES = {
    "behaviour.objective.batch_size": 2,
    "joint.warmup_steps": 1,
    "joint.average_decay": 0.0,
}
ANYTHING = PromotionConfig(min_gain=-1, max_loss=1.1, max_literal_loss=1, min_sensitivity=0)
REFUSED = {
    "base": "nano",
    "created_at": "2026-03-01",
    "evaluation": {"promoted": False, "checks": []},
}


def changed(config, changes):
    """The configuration with other values."""
    return built(merged(flattened(config), changes), recipe=config.recipe)


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(number):
    """A progress that ends the process once so much more is done."""
    calls = []

    def progress(done):
        calls.append(done)
        if sum(calls) >= number:
            raise Killed

    return progress


def registered(run):
    return run.result("register", RegisteredVersion)


def options_of(config, folder):
    """The command line of a run."""
    options = ["finetune", "--data", config.data, "--out", str(folder), "--base", config.base]
    options += ["--recipe", "gentle"]
    for name, value in GIVEN.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    for name, value in CHANGES.items():
        options += ["--set", f"{name}={value}"]
    return options
