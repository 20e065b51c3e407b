"""The Markdown files name only what exists: links, paths, tests, commands and their options, settings, metrics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from service.cli.main import app
from service.settings import Settings
from service.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
FOLDERS = ("service", "models", "deploy", "tests", "docs")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md"))])
GENERATED = {ROOT / "docs" / "reproduction" / "tables.md"}
HISTORY = {ROOT / "CHANGELOG.md"}
"""A changelog names what is gone."""
WRITTEN = [file for file in DOCUMENTS if file not in GENERATED]
CURRENT = [file for file in WRITTEN if file not in HISTORY]

MAX_WIDTH = 120
README_LINES = 150
COMMANDS = {
    name: {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
OF_TESTS = {"ACT_DETR_TEST_THREADS", "ACT_DETR_FUZZ_EXAMPLES", "ACT_DETR_TOOLS_PYTHON"}


def each(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files, ids=lambda file: str(file.relative_to(ROOT)))


@cache
def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def prose_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines outside of fenced blocks."""
    fenced = False
    for number, line in enumerate(text_of(file).splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


@cache
def anchors(file: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = (line.lstrip("#").strip() for _, line in prose_lines(file) if re.match(r"#{1,6} ", line))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def names_in(file: Path) -> set[str]:
    """The names of a test file's functions and classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(text_of(file))) if isinstance(node, kinds)}


def shell(file: Path) -> Iterator[str]:
    """Yield the commands of a document, a line each: of fenced blocks and of inline code."""
    text = text_of(file)
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


@each(WRITTEN)
def test_links_and_anchors_exist(file: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(file)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in anchors(linked)):
            broken.append(target)
    assert not broken


@each(CURRENT)
def test_named_paths_exist(file: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./\-]+)(?:::\w+)*`", text_of(file))
    assert not [path for path in named if not (ROOT / path).exists()]


@each(CURRENT)
def test_named_tests_exist(file: Path) -> None:
    """`test_file.py::name` names a test, and `::name` alone one in the file that was named last.

    A file goes by the end of its path, as much of it as tells it from others.
    """
    wrong, known = [], set[str]()
    for name, tests in re.findall(r"`((?:[\w/]+/)?test_\w+\.py)?((?:::\w+)*)`", text_of(file)):
        if name:
            candidates = [test for test in (ROOT / "tests").rglob("test_*.py") if f"/{test}".endswith(f"/{name}")]
            known = names_in(candidates[0]) if len(candidates) == 1 else set()
        if (name and not known) or not set(re.findall(r"\w+", tests)) <= known:
            wrong.append(name + tests)
    assert not wrong


@each(CURRENT)
def test_commands_and_their_options_exist(file: Path) -> None:
    unknown = []
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.M))
    for line in shell(file):
        for command, rest in re.findall(r"(?<!-n )\bact-detr ([a-z]+)\b([^|;]*)", line):
            options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", rest.partition("#")[0])) - {"--help"}
            if command not in COMMANDS or not options <= COMMANDS[command]:
                unknown.append(line)
        for module in re.findall(r"python -m ((?:service|models|deploy)[\w.]*)", line):
            path = ROOT.joinpath(*module.split("."))
            if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
                unknown.append(line)
        if re.match(r"make [a-z]", line) and line.split()[1] not in targets:
            unknown.append(line)
    assert not unknown


@each(CURRENT)
def test_settings_and_metrics_exist(file: Path) -> None:
    settings = {f"ACT_DETR_{name.upper()}" for name in Settings.model_fields} | OF_TESTS
    families = {family.name for family in Metrics().registry.collect()}
    named = set(re.findall(r"ACT_DETR_[A-Z0-9]+(?:_[A-Z0-9]+)*", text_of(file)))
    series = {
        re.sub(r"_(total|count|sum|bucket|info)$", "", name)
        for name in re.findall(r"act_detr_[a-z_]+[a-z]", text_of(file))
    }
    assert not named - settings
    assert not series - families


@each(WRITTEN)
def test_lines_are_wrapped(file: Path) -> None:
    """Tables and fenced blocks are exempt, and so is a link that is longer than a line."""
    long = [number for number, line in prose_lines(file) if len(line) > MAX_WIDTH and not line.startswith("|")]
    assert not long


def test_readme_fits_on_a_few_screens() -> None:
    lines = text_of(ROOT / "README.md").splitlines()
    assert len(lines) <= README_LINES
    assert all(len(line) <= MAX_WIDTH or line.startswith("|") for line in lines)


def test_index_links_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", text_of(index))}
    assert not set((ROOT / "docs").glob("*.md")) - {index} - linked
