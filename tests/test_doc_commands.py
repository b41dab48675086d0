"""Every `ponder ...` that README or a page of docs names is a command with the options it has."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ponder.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PONDER = typer.main.get_command(app)

BLOCK = re.compile(r"^ *```(?:sh|bash|shell|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*ponder [^`]+)`")
UsageError = typer.BadParameter.__bases__[0]  # of the click that typer holds
ENDS = {"&&", "||", "|", ";", ">", ">>", "2>", "&"}


def commands(text):
    """The arguments of each `ponder` in a text, and whether it is there to be typed as it is."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from ((arguments, True) for arguments in of_line(line))
    for code in INLINE.findall(BLOCK.sub("", text)):
        yield from ((arguments, False) for arguments in of_line(" ".join(code.split())))


def of_line(line):
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote that goes on over lines: no command of ours
        return
    while "ponder" in words:
        place = words.index("ponder")
        is_value = place > 0 and words[place - 1].startswith("--")
        words = words[place + 1 :]
        if is_value:
            continue
        end = next((n for n, word in enumerate(words) if word.rstrip(";") in ENDS), len(words))
        arguments = [word.rstrip(";") for word in words[:end]]
        if arguments and not arguments[0].startswith(("...", "…", "/")):
            yield arguments


def check(arguments, *, is_whole):
    """Raise where a command or an option does not exist; of a whole one, also what is missing."""
    if is_whole:
        context = PONDER.make_context("ponder", list(arguments), resilient_parsing=False)
        name, command, rest = PONDER.resolve_command(
            context, context._protected_args + context.args
        )
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            name, command, rest = command.resolve_command(context, rest)
        command.make_context(name, rest, parent=context)
        return
    command, left = PONDER, [word.strip(",.[]") for word in arguments]
    while left:
        word = left.pop(0)
        if word.startswith("-"):
            known = {o for param in command.params for o in (*param.opts, *param.secondary_opts)}
            option = word.partition("=")[0]
            if option not in known | {"--help"}:
                raise UsageError(f"{command.name} has no option {option}")
            takes_value = any(
                option in param.opts and not getattr(param, "is_flag", False)
                for param in command.params
            )
            if takes_value and "=" not in word and left:
                left.pop(0)
        elif hasattr(command, "commands"):
            if word in ("", "…", "COMMAND") or "|" in word:  # the reader is to choose
                return
            if word not in command.commands:
                raise UsageError(f"{command.name} has no command {word}")
            command = command.commands[word]


def test_what_is_no_command_is_found():
    for line in ("ponder lnad", "ponder land --snapshto", "ponder lake vacuum --dry"):
        [arguments] = of_line(line)
        for is_whole in (True, False):
            with pytest.raises(UsageError):
                check(arguments, is_whole=is_whole)
    [arguments] = of_line("ponder publish")  # whole, it lacks the folder
    check(arguments, is_whole=False)
    with pytest.raises(UsageError):
        check(arguments, is_whole=True)


def test_every_make_target_that_is_named_is_one():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for page in PAGES:
        text = page.read_text()
        code = "\n".join([*BLOCK.findall(text), *re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))])
        named |= set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE))
    assert {"demo", "test", "lint", "docs"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_of_a_page_is_one(page):
    for arguments, is_whole in commands(page.read_text()):
        try:
            check(arguments, is_whole=is_whole)
        except UsageError as error:
            pytest.fail(f"ponder {' '.join(arguments)}: {error.format_message()}")
