"""The stage that gives the base what it lacks, before anything is read with it: words, an ear."""

from dataclasses import replace

from ponder.finetuning import given
from ponder.finetuning.results import LearnedVocabulary
from ponder.finetuning.run import Progress, Run


def extend(run: Run, progress: Progress) -> LearnedVocabulary:
    """Extend the base's vocabulary by what the data's texts say often: stage `vocabulary`.

    It also adds an untrained audio encoder, where the recipe has one and the base has none. It
    leaves a version folder, which is the base of all later stages; none where the recipe asks for
    neither, nor for another limit of texts. Texts are those of `vocabulary.txt`, or without
    it those of all queries and targets.
    """
    from embedder.finetune.training.audio import with_audio_encoder
    from embedder.finetune.training.version_folder import write_version
    from embedder.finetune.training.vocabulary import with_vocabulary

    config, audio = run.config.vocabulary, run.config.audio
    if not (config.num_tokens or config.max_text_tokens or audio):
        return LearnedVocabulary()
    base = run.load(run.given_base)
    if audio is not None and base.backbone.audio is None:
        base = with_audio_encoder(base, audio, seed=run.config.seed)
    num_before = len(base.inputs.tokenizer)
    if config.num_tokens:
        texts = given.read_texts(run.data_folder) or _texts(run)
        base = with_vocabulary(
            base, texts, num_tokens=config.num_tokens, min_count=config.min_count
        )
    manifest = base.manifest
    if config.max_text_tokens:
        manifest = replace(manifest, max_text_tokens=config.max_text_tokens)
    write_version(base.backbone, base, run.version("vocabulary"), manifest=manifest)
    num_new = len(base.inputs.tokenizer) - num_before
    progress(num_new)
    return LearnedVocabulary(new_tokens=num_new)


def _texts(run: Run) -> list[str]:
    """Return every text that is learned from, once, in the order of the pairs."""
    sides = (content.text for pair in run.pairs for content in (pair.query, pair.target))
    return [text for text in dict.fromkeys(sides) if text]
