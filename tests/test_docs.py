"""Every code block of README and docs is run, or checked as far as possible without DFT."""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from docs_setup import LEAVES, PREPARE, SLOW, SMALLER
from entrove.campaign.configuration.config import CampaignConfig
from entrove.cli.main import app
from entrove.curves.config import StudyConfig
from entrove.validation import SuiteConfig

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)
MADE_BY_THE_SITE = ("docs/reference/commands.md", "docs/api/")
"""Pages that `tools/docs_site.py` makes, to which others may link."""

NOT_RUN = {
    r"make (demo|test)": "takes minutes; its target is looked up in the Makefile",
    r"export .*": "sets a variable of the shell",
    r"(GPAW_CONFIG=\S+ )?pip install .*": "the test environment is installed already; its extras "
    "are looked up",
    r"entrove run [\w/.]+": "hours of DFT; the commands after it see a finished campaign",
    r"entrove doctor": "imports every framework; tests/doctor runs it",
    r"entrove curves .*": "minutes to days; tests/curves runs a small study",
    r"nequip-compile .*": "needs a model that must be downloaded",
    r"entrove validate mgo/campaign/model": "the whole suite takes minutes; docs/validation.md "
    "runs a short one",
    r"entrove report mgo/campaign --control .*": "needs a second campaign",
}
"""Commands that are shown and not run, and why."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its lines, and the number of the first of them.

    A block with a title is a file of that name, which a reader writes.
    """

    page: str
    language: str
    line: int
    text: str
    title: str = ""


def blocks_of(page: str) -> list[Block]:
    found, lines = [], (ROOT / page).read_text().splitlines()
    start = None
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = (number + 1, line.strip().removeprefix("```"))
        else:
            first, opening = start
            language, _, rest = opening.partition(" ")
            title = re.fullmatch(r'title="([^"]+)"', rest)
            assert title or not rest, f"{page}:{first}: only a title may follow the language"
            text = textwrap.dedent("\n".join(lines[first - 1 : number - 1]))
            found.append(Block(page, language, first, text, title[1] if title else ""))
            start = None
    assert start is None, f"{page}: a code block is not closed"
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TUTORIALS = sorted({block.page for block in BLOCKS if block.page.startswith("docs/tutorials/")})


def pages_with(language: str) -> list[Any]:
    """Pages with such blocks, but for tutorials, whose blocks of all languages run in order."""
    pages = {block.page for block in BLOCKS if block.language == language} - set(TUTORIALS)
    return [pytest.param(page, marks=SLOW.get(page, ())) for page in sorted(pages)]


def test_every_block_says_its_language():
    known = {"python", "yaml", "bash", "text"}
    assert [block for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    """Blocks of one page share their names, as they do for a reader who types them in."""
    monkeypatch.chdir(tmp_path)
    # Some start the program.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names = PREPARE[page](tmp_path)
    for command in commands_of(page):
        if (page, command.text) in LEAVES:
            LEAVES[page, command.text](tmp_path)
    for block in BLOCKS:
        if (block.page, block.language) != (page, "python"):
            continue
        run_python(block, names)


def run_python(block: Block, names: dict[str, Any]) -> None:
    # Line numbers in a traceback are those of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(ROOT / block.page), "exec")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "yaml"],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_a_fragment_of_a_configuration_is_valid(block):
    values = yaml.safe_load(block.text)
    if "arms" in values:
        StudyConfig.model_validate(values)
        return
    if block.title.endswith(("suite.yaml", "checks.yaml")):
        SuiteConfig.model_validate(values)
        return
    # A fragment below a section of the page is a part of that section.
    if set(values) <= {"executor", "engine"}:
        values = {"labelling": values}
    complete = {"name": "example", "seeds": [{"phase": "A", "file": "A.cif"}]} | values
    CampaignConfig.model_validate(complete)


def test_the_tutorial_of_the_demo_shows_the_configuration_of_the_demo():
    page = "docs/tutorials/silicon-demo.md"
    [shown] = (block for block in BLOCKS if (block.page, block.language) == (page, "yaml"))
    example = (ROOT / "examples/silicon/campaign.yaml").read_text()
    told, run = (
        CampaignConfig.model_validate(yaml.safe_load(text)) for text in (shown.text, example)
    )
    assert told == run


@dataclass(frozen=True)
class Command:
    """A line of a `bash` block, without its comment; `# exit status N` says how it ends."""

    text: str
    status: int = 0


def commands_in(text: str) -> Iterator[Command]:
    for line in text.replace("\\\n", " ").splitlines():
        command, _, comment = re.sub(r"\s+", " ", f" {line.strip()}").partition(" #")
        status = re.fullmatch(r" exit status (\d+)", comment)
        if command.strip():
            yield Command(command.strip(), int(status[1]) if status else 0)


def smaller(block: Block) -> str:
    """A block with the settings with which it ends soon."""
    text = block.text
    for full, small in SMALLER.get(block.page, ()):
        text = text.replace(full, small)
    return text


def commands_of(page: str) -> list[Command]:
    return [
        command
        for block in BLOCKS
        if (block.page, block.language, block.title) == (page, "bash", "")
        for command in commands_in(smaller(block))
    ]


def is_run(command: Command) -> bool:
    return not any(re.fullmatch(pattern, command.text) for pattern in NOT_RUN)


def run_command(command: Command, programs: tuple[str, ...] = ()) -> None:
    """In this process, which has torch already; tests of the command line start their own."""
    program, *words = shlex.split(command.text)
    if program == "entrove":
        finished = CliRunner().invoke(app, words)
        status, said = finished.exit_code, f"{finished.output}\n{finished.exception}"
    else:
        assert program in programs, f"{command.text}: neither run nor named in NOT_RUN"
        ended = subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=500, check=False
        )
        status, said = ended.returncode, f"{ended.stdout}\n{ended.stderr}"
    assert status == command.status, f"{command.text}\n{said}"


@pytest.mark.parametrize("page", pages_with("bash"))
def test_commands_of_a_page_work_in_their_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    PREPARE[page](tmp_path)
    for block in (block for block in BLOCKS if block.page == page and block.title):
        (tmp_path / block.title).write_text(smaller(block) + "\n")
    for command in commands_of(page):
        if is_run(command):
            run_command(command)
        elif (page, command.text) in LEAVES:
            LEAVES[page, command.text](tmp_path)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=SLOW.get(page, ())) for page in TUTORIALS]
)
def test_a_tutorial_works_from_top_to_bottom(page, tmp_path, monkeypatch, request):
    """Files are written, commands and Python run, in the order in which a reader meets them.

    `SMALLER` is all that differs from the page: settings that would take long.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    if request.node.get_closest_marker("slurm"):
        request.getfixturevalue("cluster")
    names = PREPARE[page](tmp_path)
    for block in (block for block in BLOCKS if block.page == page):
        text = smaller(block)
        if block.title:
            (tmp_path / block.title).write_text(text + "\n")
        elif block.language == "python":
            run_python(replace(block, text=text), names)
        elif block.language == "bash":
            for command in filter(is_run_in_tutorials, commands_in(text)):
                run_command(command, ("sbatch", "squeue"))


@pytest.mark.parametrize("page", sorted(SMALLER))
def test_what_is_made_smaller_is_on_the_page(page):
    text = "\n".join(block.text for block in BLOCKS if block.page == page)
    assert [full for full, _ in SMALLER[page] if full not in f"{text}\n"] == []


def is_run_in_tutorials(command: Command) -> bool:
    """Campaigns and studies run here, because they are small."""
    return command.text.startswith(("entrove run", "entrove curves")) or is_run(command)


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """A real Slurm of one node."""
    file = ROOT / "tests/labelling/slurm_cluster.py"
    spec = importlib.util.spec_from_file_location("slurm_cluster", file)
    assert spec is not None
    assert spec.loader is not None
    slurm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slurm)
    if why_not := slurm.why_not():
        pytest.skip(why_not)
    with slurm.running_cluster(tmp_path_factory.mktemp("slurm") / "run") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


def test_targets_and_extras_that_pages_name_exist():
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    optional = project.split("[project.optional-dependencies]")[1]
    extras = set(re.findall(r"^(\w+) = \[", optional, re.M))
    for command in (command.text for page in PAGES for command in commands_of(page)):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.M), command
        for named in re.findall(r"\[([\w,]+)\]", command) if "pip install" in command else ():
            assert set(named.split(",")) <= extras, command


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            path = Path(os.path.normpath((ROOT / page).parent / target))
            made = path.relative_to(ROOT).as_posix().startswith(MADE_BY_THE_SITE)
            assert made or path.exists(), f"{page}: {target}"


def texts_of_the_program() -> str:
    """All texts of the source, one a line; `...` stands for a value that is filled in."""
    found = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else "..."
                    for part in node.values
                ]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(text.replace("\n", " ") for text in found)


def test_messages_of_troubleshooting_are_those_of_the_program():
    page = (ROOT / "docs/about/troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(messages) > 30
    texts = texts_of_the_program()
    assert [message for message in messages if message not in texts] == []


def test_the_readme_quotes_the_stored_run_of_the_demo():
    numbers = json.loads((ROOT / "benchmarks/demo/results/demo.json").read_text())["numbers"]
    untuned, tuned = (row for row in numbers["test_errors"] if row["kind"] == "all")
    assert (untuned["round"], tuned["round"]) == (0, 2)

    def fall(column: str, digits: int) -> str:
        return f"{untuned[column]:.{digits}f} to {tuned[column]:.{digits}f}"

    text = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"With {numbers['training_labels']} labels the mean absolute errors of SevenNet-0 on "
        f"{untuned['structures']} test structures that no decision has used fall from "
        f"{fall('energy_mae_meV_per_atom', 1)} meV/atom (energy), "
        f"{fall('force_mae_meV_per_A', 0)} meV/A (forces) and "
        f"{fall('stress_mae_meV_per_A3', 1)} meV/A^3 (stress)."
    ) in text
