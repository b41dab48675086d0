"""The tasks that a name stands for: one of mteb's, a benchmark of them, or a folder's own.

    SciFact           a task that mteb knows; its data come from the Hugging Face hub, or its cache
    SciFact=FOLDER    the same, its data from a folder: a copy of the dataset's repository
    "MTEB(eng, v2)"   all tasks of a benchmark
    local:FOLDER      retrieval in a folder of mteb's format, see `local_task`

No code of a dataset is ever run: `datasets` has no loader scripts any more since 4.0.

`datasets` takes two folders with the same last name for the same data, and a folder that has
changed for what it was. It is therefore shown links whose names have the data's hash.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

LOCAL = "local:"
MODALITIES = {"image": "i", "text": "t"}
"""Columns that hold contents -> their letters in mteb's categories, in the order of those: `t2it`
asks with texts for documents of image and text."""


def find_tasks(name: str, *, links: Path) -> "list[AbsTask]":
    """Return the tasks that a name stands for.

    Args:
        name: see above.
        links: a folder for links to data that lie in folders.

    Raises:
        ValueError: mteb knows no such task or benchmark, or the folder does not hold one.
    """
    import mteb
    from mteb.get_tasks import get_task

    if name.startswith(LOCAL):
        return [local_task(Path(name.removeprefix(LOCAL)), links)]
    known, _, folder = name.partition("=")
    try:
        return [moved(get_task(known), Path(folder), links)] if folder else [get_task(name)]
    except KeyError as unknown_task:
        try:
            return list(mteb.get_benchmark(name).tasks)
        except KeyError as unknown_benchmark:
            raise ValueError(
                f"a task must be one that mteb knows, TASK=FOLDER, a benchmark or {LOCAL}FOLDER, "
                f"got {name!r}. Of tasks: {unknown_task.args[0]} Of benchmarks: "
                f"{unknown_benchmark.args[0]}"
            ) from unknown_benchmark


def moved(task: "AbsTask", folder: Path, links: Path) -> "AbsTask":
    """Return the task with the data of a folder, which decide about its revision."""
    dataset = task.metadata.dataset | _dataset(folder, links)
    return _with_metadata(type(task), task.metadata.model_copy(update={"dataset": dataset}))


def local_task(folder: Path, links: Path) -> "AbsTask":
    """Return the retrieval task of a folder, named after it and measured by NDCG@10.

    The folder is a dataset as retrieval tasks have it on the hub: a README.md that names the files
    of the configurations `corpus` and `queries` (columns `id`, and `text`, `image` or both) and
    `qrels` (or `default`; columns `query-id`, `corpus-id` and `score`). Of several splits `test`
    counts.

    Raises:
        ValueError: it is not such a folder.
    """
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    dataset = _dataset(folder, links)
    configs = _configs(dataset["path"])
    splits = _splits(dataset["path"], "qrels" if "qrels" in configs else "default")
    sides = [_modalities(dataset["path"], config) for config in ("queries", "corpus")]
    is_text_only = sides == [["text"], ["text"]]
    metadata = TaskMetadata(
        name=folder.resolve().name,
        description=f"Retrieval in {folder}",
        dataset=dataset,
        type="Retrieval" if is_text_only else "Any2AnyRetrieval",
        category="2".join("".join(MODALITIES[name] for name in side) for side in sides),
        modalities=sorted({name for side in sides for name in side}),
        eval_splits=["test"] if "test" in splits else splits,
        eval_langs=["mul-Latn"],
        main_score="ndcg_at_10",
    )
    return _with_metadata(AbsTaskRetrieval, metadata)


def revision(folder: Path) -> str:
    """Return a hash of all files of a folder, their names included."""
    hashed = hashlib.sha256()
    for path in _files(folder):
        hashed.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    return hashed.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ValueError(f"a task's data must be a folder, got {str(folder)!r}, which is none")
    yield from sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    )


def _dataset(folder: Path, links: Path) -> dict[str, str]:
    """Return where `datasets` finds the folder's data, and what they are."""
    hashed = revision(folder)
    link = links / f"{folder.resolve().name}-{hashed}"
    links.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve())
    return {"path": str(link), "revision": hashed}


def _configs(folder: str) -> list[str]:
    from datasets import get_dataset_config_names

    needed = {"corpus", "queries"}
    got = get_dataset_config_names(folder) if any(Path(folder).iterdir()) else []
    if needed - set(got) or not {"qrels", "default"} & set(got):
        raise ValueError(
            f"{folder} must have a README.md with the configurations corpus, queries and qrels, "
            f"got {got}; docs/evaluation.md shows one"
        )
    return got


def _splits(folder: str, config: str) -> list[str]:
    from datasets import get_dataset_split_names

    return [str(split) for split in get_dataset_split_names(folder, config_name=config)]


def _modalities(folder: str, config: str) -> list[str]:
    """Return what a configuration's contents are made of, in the order of `MODALITIES`."""
    from datasets import load_dataset

    split = _splits(folder, config)[0]
    columns = load_dataset(folder, config, split=split).column_names
    found = [name for name in MODALITIES if name in columns]
    if not found or not {"id", "_id"} & set(columns):
        raise ValueError(
            f"the {config} of {folder} must have a column id, and text, image or both, "
            f"got {sorted(columns)}"
        )
    return found


def _with_metadata(kind: Any, metadata: Any) -> "AbsTask":
    """Return a task of a kind: mteb keeps metadata with the class, and drops an object's own."""
    return type(kind.__name__, (kind,), {"metadata": metadata})()
