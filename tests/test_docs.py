"""Every code block of README and docs is run, or checked as far as possible without DFT."""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from docs_setup import PREPARE
from entrove.campaign.configuration.config import CampaignConfig
from entrove.cli.main import app
from entrove.curves.config import StudyConfig

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))

NOT_RUN = {
    r"make (demo|test)": "takes minutes; its target is looked up in the Makefile",
    r"export .*": "sets a variable of the shell",
    r"pip install .*": "the test environment is installed already; its extras are looked up",
    r"entrove run [\w/]+\.yaml": "hours of DFT; the commands after it see a finished campaign",
    r"entrove curves .*": "minutes to days; tests/curves runs a small study",
    r"nequip-compile .*": "needs a model that must be downloaded",
}
"""Commands that are shown and not run, and why."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its lines, and the number of the first of them."""

    page: str
    language: str
    line: int
    text: str


def blocks_of(page: str) -> list[Block]:
    found, lines = [], (ROOT / page).read_text().splitlines()
    start = None
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = (number + 1, line.strip().removeprefix("```"))
        else:
            first, language = start
            text = "\n".join(lines[first - 1 : number - 1])
            found.append(Block(page, language, first, text))
            start = None
    assert start is None, f"{page}: a code block is not closed"
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON_PAGES = sorted({block.page for block in BLOCKS if block.language == "python"})


def test_every_block_says_its_language():
    known = {"python", "yaml", "bash", "text"}
    assert [block for block in BLOCKS if block.language not in known] == []


@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    """Blocks of one page share their names, as they do for a reader who types them in."""
    monkeypatch.chdir(tmp_path)
    names = PREPARE[page](tmp_path)
    for block in BLOCKS:
        if (block.page, block.language) != (page, "python"):
            continue
        # Line numbers in a traceback are those of the page.
        code = compile("\n" * (block.line - 1) + block.text, str(ROOT / page), "exec")
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
    # A fragment below a section of the page is a part of that section.
    if set(values) <= {"executor", "engine"}:
        values = {"labelling": values}
    complete = {"name": "example", "seeds": [{"phase": "A", "file": "A.cif"}]} | values
    CampaignConfig.model_validate(complete)


def commands_of(page: str) -> list[str]:
    text = "\n".join(
        block.text for block in BLOCKS if (block.page, block.language) == (page, "bash")
    )
    joined = text.replace("\\\n", " ")
    lines = (re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.language == "bash"})
)
def test_commands_of_a_page_work_in_their_order(page, tmp_path, monkeypatch):
    """In this process, which has torch already; tests of the command line start their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    PREPARE[page](tmp_path)
    for command in commands_of(page):
        if any(re.fullmatch(pattern, command) for pattern in NOT_RUN):
            continue
        words = shlex.split(command)
        assert words[0] == "entrove", f"{command}: neither run nor named in NOT_RUN"
        finished = CliRunner().invoke(app, words[1:])
        assert finished.exit_code == 0, f"{command}\n{finished.output}\n{finished.exception}"


def test_targets_and_extras_that_pages_name_exist():
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    optional = project.split("[project.optional-dependencies]")[1]
    extras = set(re.findall(r"^(\w+) = \[", optional, re.M))
    for command in (command for page in PAGES for command in commands_of(page)):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.M), command
        for named in re.findall(r"\[([\w,]+)\]", command) if "pip install" in command else ():
            assert set(named.split(",")) <= extras, command


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
