"""What nano is taught before it meets the riddles, as a data folder for the recipe `school`.

Nano grew up without most words of the riddles. A large model knows words, facts and sums before it
is fine-tuned; so nano is taught these once: its vocabulary is extended, and it answers lists of
single facts ("the wings of a fly, 4 with 2"). It goes on with the curriculum's questions, whose
rationales now have the form that it will meet: observation, inference, summary. It sees no riddle
and nothing that is inferred from two of the new facts.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from catalog.bazaar import observations, riddles
from catalog.bazaar.rationales import about_item, right_rationale
from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.nano.curriculum import CurriculumPair, curriculum_pairs
from embedder.reasoners.reasoner import Rationale
from ponder.finetuning.data_folder import Example, write_data

NUM_EXERCISES = 20_000
NUM_SHOP_EXAMPLES = 4_000
MAX_FACTS = 4  # of an exercise
WORKER = "school"


def write_school(folder: Path, *, seed: int = 0) -> None:
    """Write exercises, examples of the shop and texts to learn words from.

    Args:
        folder: of the data.
        seed: of the exercises and their order.
    """
    examples = [*exercises(NUM_EXERCISES, seed=seed), *shop_examples(NUM_SHOP_EXAMPLES, seed=seed)]
    write_data(folder, examples)
    (folder / "vocabulary.txt").write_text("\n".join(sentences(seed=seed)))


def exercises(num_exercises: int, *, seed: int) -> list[Example]:
    """Return lists of one to four single facts to ask for, and the sentences that tell them."""
    rng = random.Random(f"school/{seed}")
    facts = riddles.facts()
    examples = []
    for number in range(num_exercises):
        chosen = rng.sample(facts, rng.randint(1, MAX_FACTS))
        asked = ", ".join(fact.question for fact in chosen)
        told = " ".join(fact.value for fact in chosen)
        rationale = Rationale(". ".join(fact.sentence for fact in chosen), told)
        pair = Pair(
            Content(asked),
            Content(told),
            query_key=asked,
            target_key=told,
            source="facts",
            pair_id=f"fact{number:05d}",
        )
        examples.append(Example(pair, {WORKER: rationale}))
    return examples


def shop_examples(num_examples: int, *, seed: int) -> list[Example]:
    """Return what nano grew up with, so that it goes on knowing it."""
    rng = random.Random(f"shop/{seed}")
    examples = []
    for number, one in enumerate(curriculum_pairs(num_examples, seed=seed, step=0)):
        pair = Pair(
            one.query,
            one.item,
            query_key=one.query_summary,
            target_key=one.product.name,
            source="shop",
            pair_id=f"shop{number:05d}",
        )
        examples.append(Example(pair, {WORKER: _rationale(one, rng)}))
    return examples


def _rationale(one: CurriculumPair, rng: random.Random) -> Rationale:
    """Return what an honest writer says about the query."""
    if one.question is not None:
        return Rationale(right_rationale(one.question, rng), one.query_summary)
    script = about_item(one.product, "right", other=one.product, asked="", rng=rng)
    return Rationale(script.text, script.summary)


def sentences(*, seed: int) -> Iterator[str]:
    """Yield texts that have every word of riddles and rationales, as it stands behind another."""
    for example in (*exercises(2_000, seed=seed), *shop_examples(500, seed=seed)):
        yield f"{example.pair.query.text}. {example.rationales[WORKER].text}"
    for form in (
        observations.ABOUT_ANY_QUESTION,
        observations.ABOUT_ANY_IMAGE,
        observations.EMPTY,
    ):
        yield f"so {'. '.join(form)}"
