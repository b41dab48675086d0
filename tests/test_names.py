"""Words that were given up for those of the field must not come back in names.

Which word stands for which, and why, is in docs/architecture.md (Words).
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    *("catalog", "embedder", "features", "evaluation", "recall", "ranker", "serving", "ponder"),
    *("bench", "dags", "tests"),
)

INSTEAD = {
    r"thought|thinker|thinking": "rationale, decoder, reasoning",
    r"lesson": "example",
    r"taste": "interactions, preference",
    r"picture": "image",
    r"(max|num|trains?|with)_words": "..._tokens; a token is not a word",
    r"words?_([A-Z]|log|states)": "token_...; a token is not a word",
    r"(query|target)_paths?$|RationalePath": "..._rationales",
    r"\btower|_tower|Tower": "vision_encoder",
    r"^(Backlog|Watermarks|Positions|Moves)$": "see docs/architecture.md (of Kafka's own words)",
    r"^Media[A-Z]|load_media|fetch_web|drop_remains|embed_letters": "image, http, dead_letters",
    r"^Counts$": "a dataclass that says what is counted",
    r"^Ranks$|^Reader$|^Reading$|^Prompted$|^Partners$|^Case$": "see docs/architecture.md",
    r"^(Contrastive|Joint|Gate)Trainer$": "joint_trainer, gate_trainer; there is one Trainer",
    r"encode_given|ReasoningLimits": "encode_with_rationales, deadline",
    r"^Collaborative|^Batches$": "SequenceObjective, BatchSampler",
    r"^Space$|make_space|restore_space": "CentredEmbeddings; a space is the behaviour space",
    r"^Judged$|query_judge|PairJudge|FrozenQuery": "evaluate...; a judge is the LLM judge",
    r"^Counts$|^from_env$": "a dataclass named for what it counts; load_settings",
    r"turned_towards|both_modes|BothModes|judge_(offers|queries|histories)": "see the docs",
}
OMNI_TEST = "tests/embedder/model/test_omni_audio.py"
ALLOWED = {
    "num_words": {"bench/mixed_catalogue.py"},  # these are words
    "MAX_WORDS": {"bench/mixed_catalogue.py"},
    # transformers' own, of Qwen3-Omni:
    "audio_tower": {"embedder/model/checkpoint.py", OMNI_TEST},
    "thinker": {OMNI_TEST},
    "thinker_config": {OMNI_TEST},
    "Qwen3OmniMoeThinkerConfig": {OMNI_TEST},
    "Qwen3OmniMoeThinkerForConditionalGeneration": {OMNI_TEST},
}


def names(tree):
    """Every name that a file gives or uses."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name():
                yield node.id
            case ast.Attribute():
                yield node.attr
            case ast.arg():
                yield node.arg
            case ast.keyword() if node.arg:
                yield node.arg
            case ast.alias():
                yield from (node.asname or node.name).split(".")


@cache
def trees():
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {path: ast.parse(path.read_text()) for path in paths}


@cache
def places_by_name():
    """The files that give or use each name, the files' own names among them."""
    found = {}
    for path, tree in trees().items():
        for name in {*names(tree), path.stem}:
            found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("pattern", INSTEAD)
def test_a_word_that_was_given_up_does_not_return(pattern):
    flags = re.IGNORECASE if pattern.islower() else 0
    found = {
        f"{place}: {name}"
        for name, places in places_by_name().items()
        if re.search(pattern, name, flags)
        for place in places - ALLOWED.get(name, set())
    }
    assert not found, f"say {INSTEAD[pattern]} for {sorted(found)}"


def test_a_random_generator_is_no_source():
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.arg) and node.arg == "source" and node.annotation:
                assert "Random" not in ast.unparse(node.annotation), f"{path}: call it rng"
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "source":
                assert "Random(" not in ast.unparse(node.value), f"{path}: call it rng"
