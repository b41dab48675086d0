"""What `pip install` installs beside modules: the files that they read, and that they are typed."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
TOPS = {name.split(".")[0] for name in SETUPTOOLS["packages"]}


@pytest.fixture(scope="module")
def shipped():
    """Files of the packages, as git knows them."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", *sorted(TOPS)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [PurePosixPath(line) for line in listed.stdout.splitlines()]


def test_files_beside_the_modules_are_installed_too(shipped):
    unread = {"README.md", "log.jsonl"}  # for people who look at the repository
    left = []
    for path in shipped:
        if path.suffix == ".py" or path.name in unread or "logs" in path.parts:
            continue
        patterns = [
            str(PurePosixPath(*package.split(".")) / pattern) if package != "*" else f"*/{pattern}"
            for package, of_it in SETUPTOOLS["package-data"].items()
            for pattern in of_it
        ]
        if not any(fnmatch(str(path), pattern) for pattern in patterns):
            left.append(str(path))
    assert left == []


def test_every_package_tells_type_checkers_that_it_is_typed(shipped):
    assert {path.parts[0] for path in shipped if path.name == "py.typed"} == TOPS
