"""Extend a tokenizer's vocabulary: byte-pair merges learnt from texts of another domain.

A small vocabulary spells the words of another domain in bytes, so that a text is long to read and
is cut before it has said much. New merges are put behind the old ones: byte-pair encoding goes on
where it was left (Sennrich et al. 2016). A new token's vector starts as the mean of the two that it
joins, which is our choice.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoTokenizer

from embedder.model.checkpoint import Checkpoint

Merge = tuple[str, str]
"""Two tokens that stand side by side and become one."""


def with_vocabulary(
    checkpoint: Checkpoint, texts: Iterable[str], *, num_tokens: int, min_count: int = 5
) -> Checkpoint:
    """Return the checkpoint with more tokens; its model is changed in place.

    A text without any of the new tokens is read as before.

    Args:
        checkpoint: with a tokenizer of byte pairs.
        texts: of the other domain.
        num_tokens: most new tokens.
        min_count: pairs of tokens that stand in the texts less often are left apart.

    Raises:
        ValueError: the tokenizer does not work by pairs.
    """
    tokenizer = checkpoint.inputs.tokenizer
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    if description["model"]["type"] != "BPE":
        raise ValueError(
            "the tokenizer must be of type BPE to be given more merges, got "
            f"{description['model']['type']!r}"
        )
    merges = learnt_merges(
        spellings(tokenizer.backend_tokenizer, texts), num_merges=num_tokens, min_count=min_count
    )
    ids = description["model"]["vocab"]
    parts_of: dict[str, Merge] = {}
    for left, right in merges:
        if left + right not in ids:  # two ways to the same word are one token
            ids[left + right] = len(tokenizer) + len(parts_of)
            parts_of[left + right] = (left, right)
    description["model"]["merges"] += map(list, merges)
    network = checkpoint.backbone.model
    _add_rows(network, [(ids[left], ids[right]) for left, right in parts_of.values()])
    inputs = checkpoint.inputs.with_tokenizer(_reopened(tokenizer, description))
    return replace(checkpoint, inputs=inputs)


def spellings(tokenizer: Any, texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    """Count how often each word stands in the texts, by the tokens that spell it.

    Args:
        tokenizer: a `tokenizers.Tokenizer`; its own rule says what a word is.
        texts: to count in.
    """
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    counts: Counter[tuple[str, ...]] = Counter()
    for word, count in words.items():
        counts[tuple(token.value for token in tokenizer.model.tokenize(word))] += count
    return counts


def learnt_merges(
    counts: Mapping[tuple[str, ...], int], *, num_merges: int, min_count: int
) -> list[Merge]:
    """Learn byte-pair merges (BPE): those that shorten the words most, one after the other.

    Each step joins the pair that stands side by side most often after the steps before; of equals
    the one that is last in alphabetical order.

    Args:
        counts: of words by the tokens that spell them.
        num_merges: most merges.
        min_count: rarer pairs are not merged.

    >>> learnt_merges({("l", "o", "w"): 3, ("l", "o"): 2, ("w",): 9}, num_merges=9, min_count=3)
    [('l', 'o'), ('lo', 'w')]
    """
    words = [list(word) for word in counts]
    times = list(counts.values())
    found: Counter[Merge] = Counter()
    where: defaultdict[Merge, set[int]] = defaultdict(set)

    def count(number: int, sign: int) -> None:
        for pair in zip(words[number], words[number][1:], strict=False):
            found[pair] += sign * times[number]
            where[pair].add(number)

    for number in range(len(words)):
        count(number, 1)
    merges: list[Merge] = []
    while found and len(merges) < num_merges:
        best = max(found, key=lambda pair: (found[pair], pair))
        if found[best] < min_count:
            break
        for number in where.pop(best):
            count(number, -1)
            words[number] = merged(words[number], best)
            count(number, 1)
        del found[best]
        merges.append(best)
    return merges


def merged(word: Sequence[str], pair: Merge) -> list[str]:
    """Return the word with every occurrence of the pair joined, from the left.

    >>> merged(["a", "a", "a", "b"], ("a", "a"))
    ['aa', 'a', 'b']
    """
    joined: list[str] = []
    place = 0
    while place < len(word):
        fits = tuple(word[place : place + 2]) == pair
        joined.append("".join(pair) if fits else word[place])
        place += 2 if fits else 1
    return joined


@torch.no_grad()
def _add_rows(network: Any, parts: Sequence[tuple[int, int]]) -> None:
    """Add a vector for every new token, at the input and, where they differ, at the output."""
    first = network.get_input_embeddings().weight.shape[0]
    network.resize_token_embeddings(first + len(parts), mean_resizing=False)
    for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
        for row, pair in enumerate(parts, start=first):  # in order: a part may be new itself
            layer.weight[row] = layer.weight[list(pair)].mean(dim=0)


def _reopened(tokenizer: Any, description: Mapping[str, Any]) -> Any:
    """Open the tokenizer again with another description of its inner workings."""
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(description))
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
