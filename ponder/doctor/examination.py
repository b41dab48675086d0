"""Look for everything that is known to go wrong in a deployment, each within a time."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from types import MappingProxyType

from ponder.doctor.airflow import check_airflow
from ponder.doctor.folders import check_disk, check_folders
from ponder.doctor.index import check_index
from ponder.doctor.lake import check_clock, check_lake
from ponder.doctor.model import check_model, check_reasoner
from ponder.doctor.problem import Problem, said
from ponder.doctor.software import check_device, check_python, check_software
from ponder.doctor.topics import check_kafka
from ponder.settings import Settings
from ponder.settings_sources import SettingsError, SettingsSources

Check = Callable[[Settings], Iterable[Problem]]

SETTINGS_CHECK = "settings"
"""Comes before all others, which need settings to look at anything."""

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "python": check_python,
        "software": check_software,
        "device": check_device,
        "folders": check_folders,
        "disk": check_disk,
        "lake": check_lake,
        "clock": check_clock,
        "kafka": check_kafka,
        "index": check_index,
        "model": check_model,
        "reasoner": check_reasoner,
        "airflow": check_airflow,
    }
)
"""What is looked at, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What was looked at, and what is wrong."""

    checks: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, notes aside."""
        return not any(each.is_fault for each in self.problems)


def examine(
    sources: SettingsSources,
    *,
    only: Collection[str] = (),
    timeout_s: float = 60.0,
    checks: Mapping[str, Check] = CHECKS,
) -> Examination:
    """Look for everything that is known to go wrong.

    Args:
        sources: the settings as they were found, which may be wrong themselves: then nothing else
            is looked at.
        only: names of checks; none: all of them.
        timeout_s: seconds that each may take; all run at once.
        checks: by name.

    Raises:
        ValueError: there is no check of a name.
    """
    known = (SETTINGS_CHECK, *checks)
    if unknown := sorted(set(only) - set(known)):
        raise ValueError(f"a check must be one of {', '.join(known)}, got {unknown[0]!r}")
    try:
        settings = sources.settings()
    except SettingsError as error:
        return Examination(checks=(SETTINGS_CHECK,), problems=tuple(_wrong_settings(error)))
    meant = {name: check for name, check in checks.items() if not only or name in only}
    answers = {name: _started(check, settings) for name, check in meant.items()}
    wait(answers.values(), timeout=timeout_s)
    problems = [each for name in meant for each in _problems(name, answers[name], timeout_s)]
    return Examination(checks=(SETTINGS_CHECK, *meant), problems=tuple(problems))


def _wrong_settings(error: SettingsError) -> Iterator[Problem]:
    for line in error.problems:
        yield Problem(
            check=SETTINGS_CHECK,
            what=line,
            remedy="correct it where it says; docs/configuration.md has all names and values",
        )


def _started(check: Check, settings: Settings) -> "Future[list[Problem]]":
    """Start a check on a thread that nobody has to wait for: what it asks may never answer."""
    answer: Future[list[Problem]] = Future()

    def run() -> None:
        try:
            answer.set_result(list(check(settings)))
        except BaseException as error:  # for whoever waits
            answer.set_exception(error)

    Thread(target=run, daemon=True, name=f"doctor-{check.__name__}").start()
    return answer


def _problems(name: str, answer: "Future[list[Problem]]", timeout_s: float) -> list[Problem]:
    if not answer.done():
        what = f"an answer must come within {timeout_s:g} s, got none"
        remedy = "see whether what it asks hangs, or give it longer with --timeout"
    elif (error := answer.exception()) is None:
        return answer.result()
    else:
        what = f"it must end, got {type(error).__name__}: {said(error)}"
        remedy = f"run `ponder --verbose doctor --only {name}` and report what it says"
    return [Problem(check=name, what=what, remedy=remedy)]
