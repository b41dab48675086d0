"""Whether Python and the packages are those that Ponder was made for, and the device is there."""

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from ponder.doctor.problem import Problem
from ponder.settings import Settings

NVIDIA = Path("/dev/nvidia0")
"""There where the driver has found a GPU; torch takes seconds to say so."""

REINSTALL = "install Ponder again: `pip install -c constraints.txt .`, with the extras in use"


def check_software(settings: Settings) -> Iterator[Problem]:
    """Yield packages that are missing or of a version that Ponder does not take."""
    try:
        requirements = requires("ponder") or []
    except PackageNotFoundError:
        yield Problem(
            check="software",
            what="the package ponder must be installed for its requirements to be known",
            remedy=REINSTALL,
            is_fault=False,
        )
        return
    yield from unsuitable_packages(requirements, installed_version)


def unsuitable_packages(
    requirements: Sequence[str], installed: Callable[[str], str | None]
) -> Iterator[Problem]:
    """Yield what is missing or of another version than is required; extras are not looked at.

    Args:
        requirements: as a package's metadata has them.
        installed: the version of a package by its name; None: it is not there.
    """
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            yield Problem(
                check="software",
                what=f"{requirement.name} must be {requirement.specifier or 'installed'}, "
                f"got {found or 'none'}",
                remedy=REINSTALL,
            )


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None when it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_python(
    settings: Settings,
    running: tuple[int, int] = (sys.version_info.major, sys.version_info.minor),
) -> Iterator[Problem]:
    """Yield a Python that Ponder is not made for."""
    if not (3, 11) <= running < (3, 13):
        yield Problem(
            check="python",
            what=f"Python must be 3.11 or 3.12, got {running[0]}.{running[1]}",
            remedy="make the environment with one of these: `make PYTHON=python3.12 demo`",
        )


def check_device(settings: Settings) -> Iterator[Problem]:
    """Yield a device that torch does not have, and a GPU that nobody uses."""
    if settings.device == "cpu" and not NVIDIA.exists():
        return
    from embedder.model.devices import device_problem, idle_gpus

    if problem := device_problem(settings.device):
        yield Problem(
            check="device",
            what=f"device must be one that torch has, got {settings.device!r}: {problem}",
            remedy="set PONDER_DEVICE to cpu, or install the CUDA build of torch and the driver",
        )
    elif settings.device == "cpu" and (num := idle_gpus()):
        yield Problem(
            check="device",
            what=f"{num} GPU(s) are there, and the embedder runs on the CPU",
            remedy="set PONDER_DEVICE=cuda",
            is_fault=False,
        )
