"""`entrove init`: what is asked, what is written, and what is said about it."""

import json
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from command_line import Command

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import read_config_file
from entrove.campaign.configuration.schema import EDITOR_LINE, SCHEMA_FILE
from entrove.campaign.configuration.seeds import read_seeds
from entrove.campaign.configuration.template import ENGINES, SIZES, Choices, write_starting_point
from entrove.execution.settings import SlurmExecution
from entrove.labelling.engines.registry import AnyEngine


def written(folder: Path) -> tuple[CampaignConfig, str]:
    path = folder / "campaign.yaml"
    return read_config_file(path, CampaignConfig), path.read_text()


def test_the_file_is_short_valid_and_names_the_other_engines_and_executors(tmp_path, entrove):
    code, output, _ = entrove("init", tmp_path / "new")
    assert code == 0
    config, text = written(tmp_path / "new")
    assert len(text.splitlines()) < 45
    for name in (*ENGINES, "slurm"):
        assert name in text
    assert text.splitlines()[0] == EDITOR_LINE
    assert json.loads((tmp_path / "new" / SCHEMA_FILE).read_text())["title"] == "CampaignConfig"
    [seed] = read_seeds(tmp_path / "new" / "campaign.yaml", config)
    assert seed.describe() in output
    assert f"entrove run --check {tmp_path / 'new'}" in output


def test_every_engine_of_the_configuration_can_be_chosen():
    from typing import get_args

    union, *_ = get_args(AnyEngine)
    names = {get_args(engine.model_fields["name"].annotation)[0] for engine in get_args(union)}
    assert set(ENGINES) == names


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_written_for_each_engine_and_size_can_be_read(tmp_path, engine, size):
    choices = Choices(engine=engine, engine_argument="a:B", size=size)
    config, _ = (write_starting_point(tmp_path / "new", [], choices), written(tmp_path / "new"))[1]
    assert config.labelling.engine.kind == engine


def test_what_is_not_written_has_its_default(tmp_path, entrove):
    """Adding a section to the file later, at its defaults, is no change of the campaign."""
    entrove("init", tmp_path / "new")
    config, text = written(tmp_path / "new")
    values = yaml.safe_load(text)
    for name in set(CampaignConfig.model_fields) - set(values):
        assert getattr(config, name) == CampaignConfig.model_fields[name].default


def test_options_decide(tmp_path, entrove: Command):
    bulk("Cu", cubic=True).write(tmp_path / "fcc.xyz")
    code, said, _ = entrove(
        *("init", tmp_path / "new", tmp_path / "fcc.xyz", "--engine", "my.code:Calculator"),
        *("--partition", "cpu", "--walltime", "06:00:00", "--count", "7"),
    )
    config, _ = written(tmp_path / "new")
    assert code == 0
    assert config.labelling.engine.model_dump()["calculator"] == "my.code:Calculator"
    assert isinstance(config.labelling.executor, SlurmExecution)
    assert config.labelling.executor.partition == "cpu"
    assert config.labelling.executor.walltime_s == 6 * 3600
    assert config.selection.count == 7
    # That a partition means Slurm is not silent.
    assert "labels run in Slurm jobs (partition: cpu, walltime: 06:00:00; on this m" in said


def test_an_option_that_does_not_fit_writes_nothing(tmp_path, entrove: Command):
    code, output, errors = entrove(
        "init", tmp_path / "new", "--executor", "slurm", "--walltime", "12"
    )
    assert (code, output) == (2, "")
    assert "--walltime 12: this is no time; write hours:minutes:seconds, such as 04" in errors
    assert not (tmp_path / "new").exists()


def test_a_magnetic_seed_is_labelled_as_the_option_says(tmp_path, entrove: Command):
    bulk("Fe", cubic=True).write(tmp_path / "bcc.xyz")
    seed = tmp_path / "bcc.xyz"
    code, said, _ = entrove("init", tmp_path / "spin", seed)
    assert code == 0
    assert "Fe can be magnetic: labels have spin polarisation" in said
    code, said, _ = entrove("init", tmp_path / "none", seed, "--non-magnetic")
    assert code == 0
    assert "spin" not in said
    assert entrove("init", tmp_path / "vasp", seed, "--engine", "vasp")[0] == 0
    spin, none, vasp = (written(tmp_path / name)[0] for name in ("spin", "none", "vasp"))
    assert spin.labelling.engine.model_dump()["spin_polarised"]
    assert not none.labelling.engine.model_dump()["spin_polarised"]
    assert none.regime.non_magnetic
    assert vasp.labelling.engine.model_dump()["magnetic_moments"]["Fe"] > 2
    code, _, errors = entrove("init", tmp_path / "cp2k", seed, "--engine", "cp2k")
    assert code == 2
    assert "no key for spin; choose another engine, or --non-magnetic" in errors
    assert not (tmp_path / "cp2k").exists()


def test_init_says_that_it_repeats_a_cell_of_one_atom(tmp_path, entrove: Command):
    bulk("Cu").write(tmp_path / "one.xyz")
    bulk("Cu", cubic=True).write(tmp_path / "four.xyz")
    code, said, _ = entrove("init", tmp_path / "cu", tmp_path / "one.xyz", tmp_path / "four.xyz")
    assert code == 0
    assert said.count("its cell is repeated 2 x 2 x 2") == 1


def test_placeholders_are_named(tmp_path, entrove: Command, monkeypatch):
    for variable in ("ESPRESSO_PSEUDO", "VASP_PP_PATH"):
        monkeypatch.delenv(variable, raising=False)
    _, output, _ = entrove("init", tmp_path / "vasp", "--engine", "vasp")
    assert "replace FOLDER_WITH_potpaw_PBE in it" in output
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path / "pseudo"))
    (tmp_path / "pseudo").mkdir()
    for name in ("si_pbe_v1.uspp.F.UPF", "Si.lda.UPF", "C.pbe.UPF"):
        (tmp_path / "pseudo" / name).write_text("")
    _, output, _ = entrove("init", tmp_path / "pw", "--engine", "espresso")
    assert "replace" not in output
    engine = written(tmp_path / "pw")[0].labelling.engine.model_dump()
    assert engine["pseudopotentials"] == {"Si": "si_pbe_v1.uspp.F.UPF"}
    assert Path(engine["pseudopotential_folder"]) == tmp_path / "pseudo"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "gpau"), "--engine gpau: choose gpaw, espresso"),
        (("--size", "small"), "--size small: choose standard or quick"),
        (("--executor", "pbs"), "--executor pbs: choose local or slurm"),
        (("--executor", "local", "--partition", "cpu"), "--partition belongs to --executor slurm"),
        (
            ("--executor", "local", "--partition", "cpu", "--walltime", "01:00:00"),
            "--partition and --walltime belong to --executor slurm",
        ),
        (("--walltime", "abc"), "--walltime abc: this is no time; write hours:minutes:seconds"),
        (("missing.cif",), "missing.cif"),
    ],
)
def test_wrong_input_writes_nothing(tmp_path, entrove: Command, arguments, message):
    code, _, errors = entrove("init", tmp_path / "new", *arguments)
    assert code in (1, 2)
    assert message in errors
    assert not (tmp_path / "new").exists()


def test_a_file_of_the_users_is_never_replaced(tmp_path, entrove: Command):
    bulk("Cu", cubic=True).write(tmp_path / "Cu.xyz")
    for folder, name, seeds in (("own", "diamond.xyz", ()), ("two", "Cu.xyz", ("Cu.xyz",))):
        place = tmp_path / folder
        place.mkdir()
        (place / name).write_text("precious")
        code, _, errors = entrove("init", place, *(tmp_path / seed for seed in seeds))
        assert code == 2
        assert f"{place / name}: exists already, with other content" in errors
        assert [path.name for path in place.iterdir()] == [name]
        assert (place / name).read_text() == "precious"


def test_seeds_that_are_in_the_folder_already_are_used(tmp_path, entrove: Command):
    """Also those that a first `init` has put there."""
    for name, seeds in (("silicon", ()), ("copper", (tmp_path / "Cu.xyz",))):
        bulk("Cu", cubic=True).write(tmp_path / "Cu.xyz")
        for _ in range(2):
            assert entrove("init", tmp_path / name, *seeds)[0] == 0
            (tmp_path / name / "campaign.yaml").unlink()
    assert entrove("init", tmp_path / "copper", tmp_path / "copper/Cu.xyz")[0] == 0


def test_json_says_what_was_read(tmp_path, entrove: Command):
    code, output, _ = entrove("init", tmp_path / "new", "--json")
    assert code == 0
    assert json.loads(output)["seeds"][0].startswith("seed diamond: Si8, Fd-3m (227)")


# On a terminal.


class Terminal:
    """`entrove init` in a pseudo-terminal, whose questions are answered one by one."""

    def __init__(self, *arguments: str):
        command = [sys.executable, "-m", "entrove.cli.main", "init", *arguments]
        self.process, self.handle = pty.fork()
        if self.process == 0:
            # A job in the background has SIGINT ignored, which its children inherit.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvpe(command[0], command, {**os.environ, "TERM": "dumb", "COLUMNS": "200"})
        self.output = ""

    def expect(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self.handle], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.handle, 4096).decode()
                except OSError:  # the other side is closed
                    break
        assert text in self.output
        self.output = self.output.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def wait_until_it_reads(self) -> None:
        """Python loses a signal that comes between the prompt and the read that follows it."""
        asleep = 0
        while asleep < 5:
            state = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()[0]
            asleep = asleep + 1 if state == "S" else 0
            time.sleep(0.02)

    def end(self) -> int:
        while True:
            try:
                if not os.read(self.handle, 4096):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.process, 0)
        os.close(self.handle)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def iron(tmp_path: Path) -> Path:
    atoms: Atoms = bulk("Fe", cubic=True)
    atoms.write(tmp_path / "bcc.xyz")
    return tmp_path / "bcc.xyz"


def test_questions_are_asked_on_a_terminal(tmp_path, iron):
    terminal = Terminal(str(tmp_path / "new"), str(iron))
    terminal.expect("What computes the labels")
    terminal.type("gpau\n")
    terminal.expect("'gpau' is none of them")
    terminal.type("vasp\n")
    terminal.expect("Fe can be magnetic. Label with spin polarisation")
    terminal.type("n\n")
    terminal.expect("Where labels run")
    terminal.type("slurm\n")
    terminal.expect("Partition")
    terminal.type("cpu\n")
    terminal.expect("Time limit")
    terminal.type("12\n")
    terminal.expect("'12' is no time")
    terminal.type("\n")
    terminal.expect("Labels per round")
    terminal.type("9\n")
    terminal.expect("wrote")
    assert terminal.end() == 0
    config, _ = written(tmp_path / "new")
    assert config.labelling.engine.kind == "vasp"
    assert config.regime.non_magnetic
    assert config.labelling.executor.model_dump()["partition"] == "cpu"
    assert config.selection.count == 9


def test_ctrl_c_in_a_question_writes_nothing(tmp_path, iron):
    terminal = Terminal(str(tmp_path / "new"), str(iron))
    terminal.expect("[gpaw]: ")
    terminal.wait_until_it_reads()
    terminal.type("\x03")
    terminal.expect("stopped; nothing was written")
    assert terminal.end() == 130
    assert not (tmp_path / "new").exists()


def test_nothing_is_asked_about_what_is_given(tmp_path):
    terminal = Terminal(
        str(tmp_path / "new"), "--engine", "gpaw", "--executor", "local", "--count", "3"
    )
    terminal.expect("wrote")
    assert terminal.end() == 0
