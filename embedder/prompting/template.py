"""The one place that knows how a prompt looks.

    user      : [image] [image...] [<0.3 seconds> frames...] [sound] {instruction} {text}
    assistant : DIRECT  ->  <|direct|><|emb|>
                REASON  ->  <|reason|>{rationale}<|summary|>{summary}<|emb|>

The gate is one token, so its probability is a softmax over two logits of the prefill (a layout that
UME-R1 and MMEmb-R1 do not spell out; the one-token gate is our reconstruction). Queries, items,
training and serving all go through here, because a prompt that differs by one space gives a vector
that cannot be compared.

A clip is told as Qwen3-VL tells it: what its vision encoder makes of two frames stands between the
marks of an image, behind the moment in the middle of the two. Qwen3-VL fills the place with
`<|video_pad|>`; here it is `<|image_pad|>` everywhere, for the token is overwritten by what the
encoder saw, and its place counts alike. A sound stands between the marks that Qwen3-Omni has for
it, its tokens one after the other like those of a text.
"""

import re
from collections.abc import Callable, Iterable, Sequence

TEMPLATE_VERSION = 1
"""Part of every model version's identity: raise it whenever a prompt changes by a single token."""

DIRECT, REASON, SUMMARY, EMB = "<|direct|>", "<|reason|>", "<|summary|>", "<|emb|>"
PONDER_TOKENS = (DIRECT, REASON, SUMMARY, EMB)
"""Control tokens that every checkpoint gets."""

IMAGE_START, IMAGE_PAD, IMAGE_END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"
AUDIO_START, AUDIO_PAD, AUDIO_END = "<|audio_start|>", "<|audio_pad|>", "<|audio_end|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


def prompt(instruction: str, text: str, *, shown: str = "") -> str:
    """Return everything before the gate.

    Args:
        instruction: what the vector is for, from the model version's manifest.
        text: the content, already neutralised.
        shown: its images, its clip and its sound, by `image_part`, `clip_part` and `audio_part`;
            empty without any.
    """
    return f"{TURN_START}user\n{shown}{instruction}\n{text}{TURN_END}\n{TURN_START}assistant\n"


def image_part(num_tokens: int) -> str:
    """Return the place of an image that becomes so many vectors.

    >>> image_part(2)
    '<|vision_start|><|image_pad|><|image_pad|><|vision_end|>'
    """
    return IMAGE_START + IMAGE_PAD * num_tokens + IMAGE_END


def clip_part(moments_s: Sequence[float], num_tokens: int) -> str:
    """Return the place of a clip that becomes so many vectors at each of its moments.

    >>> clip_part([0.25, 1.0], 1)[:44]
    '<0.2 seconds><|vision_start|><|image_pad|><|'
    """
    return "".join(f"<{moment:.1f} seconds>{image_part(num_tokens)}" for moment in moments_s)


def audio_part(num_tokens: int) -> str:
    """Return the place of a sound that becomes so many vectors.

    >>> audio_part(2)
    '<|audio_start|><|audio_pad|><|audio_pad|><|audio_end|>'
    """
    return AUDIO_START + AUDIO_PAD * num_tokens + AUDIO_END


def reasoned_answer(rationale: str, summary: str) -> str:
    """Return the assistant's turn when it reasons, up to and with the embedding token."""
    return f"{REASON}{rationale}{SUMMARY}{summary}{EMB}"


def item_text(
    title: str | None, text: str | None, category: str | None, tags: Sequence[str] = ()
) -> str:
    r"""Return an item's text in a fixed order, one field a line; missing ones leave no trace.

    >>> item_text("3 red mugs", None, "kitchen", ["gift", "new"])
    '3 red mugs\nkitchen, gift, new'
    """
    shelf = ", ".join(part for part in (category, *tags) if part)
    return "\n".join(part for part in (title, shelf, text) if part)


def neutraliser(added_tokens: Iterable[str]) -> Callable[[str], str]:
    """Return a function that makes untrusted text unable to spell a control token.

    Every token that the tokenizer would recognise as a whole gets a space after its first
    character, so it reads the same to a person and is tokenised as plain text.

    >>> neutraliser(["<|emb|>"])("buy <|emb|> now")
    'buy < |emb|> now'
    """
    longest_first = sorted({token for token in added_tokens if len(token) > 1}, key=len)[::-1]
    if not longest_first:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(lambda match: spelled_out(match[0]), text)


def spelled_out(token: str) -> str:
    """Return a control token as `neutraliser` writes it.

    >>> spelled_out("<|emb|>")
    '< |emb|>'
    """
    return token[0] + " " + token[1:]
