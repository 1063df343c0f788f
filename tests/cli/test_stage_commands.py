"""`entrove relax`, `explore`, `select`, `label`, `train` on files, without a campaign."""

import contextlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from command_line import Command
from rich.console import Console

from cheap_campaign import Bench, Labels, make_bench
from entrove import provenance
from entrove.cli.commands.options import Stopped
from entrove.cli.stages.train import examples_of, read_snapshots
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.fingerprints.lengths import resolve_length
from entrove.formats import read_frames
from entrove.labelling.attempt import Attempt
from entrove.labelling.cost import CostModel
from entrove.labelling.engines.gpaw import Gpaw
from entrove.sampling.candidates import read_candidates
from entrove.selection import select
from entrove.selection.config import SelectionConfig
from entrove.structures import attach_results, content_hash, read_structures
from entrove.training.config import TrainingConfig

EMT_NAME = "ase.calculators.emt:EMT"
QUICK = """\
sampling:
  {thermalise_steps: 20, chunk_steps: 8, chunks: 1, snapshot_every: 4, anchors: {md_steps: 4}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a crystal and settings; models explore with EMT unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    bulk("Cu", cubic=True).write("fcc.xyz")
    Path("quick.yaml").write_text(QUICK + f"model: {{explore_with: '{EMT_NAME}'}}\n")
    return tmp_path


def copper(count: int, *, labelled: bool = False) -> list:
    rng = np.random.default_rng(5)
    structures = []
    for index in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.02 + 0.01 * index, rng=rng)
        if labelled:
            calculator = EMT()
            atoms = attach_results(
                atoms,
                calculator.get_potential_energy(atoms),
                calculator.get_forces(atoms),
                calculator.get_stress(atoms),
            )
        structures.append(atoms)
    return structures


# Relax.


def test_a_crystal_cannot_have_the_name_of_a_total(entrove: Command):
    bulk("Cu", cubic=True).write("all.xyz")
    code, _, errors = entrove("relax", "all.xyz", "--out", "relaxed.xyz")
    assert code != 0
    assert "no phase can be called all" in errors
    assert "named after their files" in errors


def test_relax_brings_each_crystal_to_each_pressure(entrove: Command):
    code, output, _ = entrove(
        *("relax", "fcc.xyz", "--config", "quick.yaml", "--pressures-GPa", "0,10"),
        *("--out", "relaxed.xyz", "--json"),
    )
    assert code == 0
    rows = json.loads(output)["relaxations"]
    assert [row["pressure_GPa"] for row in rows] == [0, 10]
    cells = read_candidates("relaxed.xyz")
    for cell, row in zip(cells, rows, strict=True):
        assert (cell.phase, cell.pressure_GPa) == ("fcc", row["pressure_GPa"])
        # The calculator itself agrees that the cell is at its pressure.
        stress = EMT().get_stress(cell.atoms)[:3].mean() * 160.21766
        assert stress == pytest.approx(-row["pressure_GPa"], abs=0.1)
    assert rows[1]["volume_A3_per_atom"] < rows[0]["volume_A3_per_atom"]


@pytest.mark.parametrize("command", ["relax", "explore"])
def test_a_pressure_would_close_the_vacuum_of_a_slab(entrove: Command, command: str):
    slab = fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True)
    slab.info.clear()  # of adsorption sites, which no file keeps
    slab.write("slab.xyz")
    arguments = (command, "slab.xyz", "--config", "quick.yaml", "--pressures-GPa", "10")
    code, _, errors = entrove(*arguments, "--out", "out.xyz")
    assert code != 0
    assert "pressures_GPa: the seed slab is a slab or layer: 16.0 A of vacuum" in errors
    assert not Path("out.xyz").exists()


def test_a_relaxation_that_does_not_converge_has_exit_status_one(entrove: Command):
    code, output, _ = entrove(
        *("relax", "fcc.xyz", "--config", "quick.yaml", "--pressures-GPa", "50"),
        *("--set", "sampling.relaxation.largest_steps=1", "--out", "relaxed.xyz"),
    )
    assert code == 1
    assert "fcc at 50 GPa: steps exhausted after 1 steps" in output
    assert "nothing was written" in output
    assert not Path("relaxed.xyz").exists()


def test_an_element_that_a_calculator_does_not_know_is_an_error_in_a_sentence(entrove: Command):
    bulk("Si", cubic=True).write("si.xyz")
    code, output, errors = entrove("relax", "si.xyz", "--config", "quick.yaml", "--out", "r.xyz")
    assert code == 2  # nothing was written
    assert "cannot evaluate Si8" in errors
    assert "Traceback" not in output + errors


def test_a_cell_of_one_atom_is_repeated(entrove: Command):
    bulk("Cu").write("one.xyz")
    code, _, errors = entrove("relax", "one.xyz", "--config", "quick.yaml", "--out", "r.xyz")
    assert code == 0
    assert "its cell of one atom is repeated" in errors
    assert len(read_candidates("r.xyz")[0].atoms) == 8


def test_seeds_of_the_configuration_are_taken_where_none_is_given(entrove: Command):
    text = "name: copper\nseeds: [{phase: A1, file: fcc.xyz}]\n" + Path("quick.yaml").read_text()
    Path("campaign.yaml").write_text(text)
    assert entrove("relax", "--config", "campaign.yaml", "--out", "r.xyz")[0] == 0
    assert read_candidates("r.xyz")[0].phase == "A1"


# Explore and select.


def explored(entrove: Command, *arguments: str) -> list:
    code, _, errors = entrove(
        *("explore", "fcc.xyz", "--config", "quick.yaml", "--temperatures-K", "900"),
        *("--out", "candidates.xyz", *arguments),
    )
    assert code == 0, errors
    return read_candidates("candidates.xyz")


def test_explore_writes_candidates_that_say_where_they_come_from(entrove: Command):
    candidates = explored(entrove, "--set", "sampling.biases=[{entropy: none}]")
    assert len(candidates) == 2  # one walker, one chunk of 8 steps, a snapshot every 4
    assert {candidate.temperature_K for candidate in candidates} == {900.0}
    assert {candidate.phase for candidate in candidates} == {"fcc"}
    first = read("candidates.xyz", ":")
    other = explored(entrove, "--set", "sampling.biases=[{entropy: none}]", "--seed", "2")
    assert [content_hash(c.atoms) for c in other] != [content_hash(c.atoms) for c in candidates]
    # Walkers of two runs have the same numbers, and are other trajectories all the same.
    second = read("candidates.xyz", ":")
    assert len({provenance.trajectory_of(atoms) for atoms in first}) == 1
    assert len({provenance.trajectory_of(atoms) for atoms in first + second}) == 2


def test_explore_says_which_keys_have_no_effect(entrove: Command):
    arguments = (
        *("explore", "fcc.xyz", "--config", "quick.yaml", "--temperatures-K", "900"),
        *("--out", "candidates.xyz", "--set", "sampling.biases=[{entropy: none}]"),
        *("--set", "entropy.kind=information"),  # whose gains can have a least one
    )
    code, _, errors = entrove(*arguments)
    assert code == 0, errors
    assert "without effect" not in errors
    code, _, errors = entrove(*arguments, "--set", "control=random_md")
    assert (code, "without effect" in errors) == (0, False)
    keys = {
        "sampling.independent_per_label": 2,
        "sampling.largest_chunks": 9,
        "sampling.trajectory_every": 2,
        "selection.admissions_per_label": 1,
        "selection.duplicate_tolerance": 0.1,
        "selection.least_gain": 0.1,
    }
    for key, value in keys.items():
        arguments += ("--set", f"{key}={value}")
    code, _, errors = entrove(*arguments)
    assert code == 0, errors
    assert f"{', '.join(keys)}: without effect here" in errors


def test_select_picks_what_the_public_function_picks(entrove: Command):
    write("pool.xyz", copper(8))
    write("known.xyz", copper(2))
    arguments = (
        "select",
        "pool.xyz",
        "--given",
        "known.xyz",
        "--count",
        "3",
        "--out",
        "picked.xyz",
    )
    code, output, _ = entrove(*arguments, "--set", "entropy.kind=information", "--json")
    assert code == 0
    found = json.loads(output)
    pool, known = read_structures("pool.xyz"), read_structures("known.xyz")
    expected = select(pool, 3, given=known, entropy="information")
    assert found["picked"] == expected.indices.tolist()
    picked = read_structures("picked.xyz")
    assert [content_hash(atoms) for atoms in picked] == [
        content_hash(pool[index]) for index in found["picked"]
    ]
    assert [atoms.info[provenance.GAIN] for atoms in picked] == pytest.approx(found["gains"])
    # Only nats are called nats.
    assert entrove(*arguments, "--set", "selection.features=fingerprint")[0] == 0
    assert not any(provenance.GAIN in atoms.info for atoms in read_structures("picked.xyz"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("entropy.kind=information", "selection.method auto is gain here"),
        ("selection.method=random", "selection.method is random"),
    ],
)
def test_a_target_that_nothing_looks_at_is_refused(entrove: Command, setting: str, says: str):
    write("pool.xyz", copper(4))
    write("aims.xyz", copper(2))
    status, _, error = entrove(
        *("select", "pool.xyz", "--count", "2", "--out", "picked.xyz"),
        *("--target", "aims.xyz", "--set", setting),
    )
    assert status == 2
    assert "--target has no effect" in error
    assert says in error
    assert not Path("picked.xyz").exists()


def test_select_by_labels_uses_the_model_and_keeps_what_the_pool_says(entrove: Command):
    pool = copper(6, labelled=True)
    for atoms in pool:
        atoms.info["mine"] = "kept"
    write("pool.xyz", pool)
    code, output, errors = entrove(
        *("select", "pool.xyz", "--count", "2", "--config", "quick.yaml"),
        *("--set", "selection.features=fingerprint", "--out", "picked.xyz"),
    )
    assert code == 0, errors
    assert "wrote 2 of 6 candidates to picked.xyz, best first" in output
    for atoms in read("picked.xyz", ":"):
        assert atoms.info["mine"] == "kept"
        # Positions in the file have eight decimals.
        energy = EMT().get_potential_energy(atoms)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_a_control_arm_explores_without_bias_and_picks_at_random(entrove: Command):
    Path("control.yaml").write_text(Path("quick.yaml").read_text() + "control: random_md\n")
    ours = explored(entrove)
    assert provenance.is_biased(ours[0].to_atoms())
    arguments = ("select", "candidates.xyz", "--count", "3", "--out", "picked.xyz", "--json")
    code, output, errors = entrove(*arguments, "--config", "control.yaml")
    assert (code, "are no random-MD control arm" in errors) == (0, True)
    drawn = json.loads(entrove(*arguments, "--set", "selection.method=random")[1])["picked"]
    assert json.loads(output)["picked"] == drawn
    control = explored(entrove, "--config", "control.yaml")
    assert {candidate.entropy for candidate in control} == {"none"}
    # As many walkers, each with as many snapshots.
    walkers = [{candidate.walker for candidate in found} for found in (ours, control)]
    assert (len(walkers[0]), len(ours)) == (len(walkers[1]), len(control))
    assert "control arm" not in entrove(*arguments, "--config", "control.yaml")[2]


def of_two_sizes() -> list:
    """Cells of 4 and of 8 atoms, whose labels take different times."""
    return [atoms.repeat((1, 1, 1 + index % 2)) for index, atoms in enumerate(copper(8))]


@pytest.mark.parametrize("method", ["gain", "representative", "random"])
@pytest.mark.parametrize("kind", ["information", "labels"])
def test_the_engine_says_what_labels_cost(entrove: Command, method, kind):
    """In the ranking and for the budget, as in a campaign."""
    write("pool.xyz", of_two_sizes())
    pool = read_structures("pool.xyz")
    model = CostModel(Gpaw())
    seconds = [model.predict(atoms).seconds for atoms in pool]
    budget_s = 3.5 * min(seconds)
    arguments = (
        *("select", "pool.xyz", "--count", "6", "--out", "picked.xyz", "--config", "quick.yaml"),
        *("--set", f"entropy.kind={kind}", "--set", f"selection.method={method}", "--json"),
        *("--set", "selection.features=fingerprint"),
    )
    for options in ((), ("--budget", str(budget_s)), ("--set", f"selection.budget_s={budget_s}")):
        code, output, errors = entrove(*arguments, *options)
        assert code == 0, errors
        picked = json.loads(output)["picked"]
        if options:
            assert 0 < sum(seconds[index] for index in picked) <= budget_s
        if kind == "labels" and method == "gain":
            continue  # its noise needs energies of the model
        expected = select(
            pool,
            6,
            config=SelectionConfig(method=method, budget_s=budget_s if options else None),
            features=GaussianOverlap(resolve_length(FingerprintConfig(), pool)),
            cost_s=lambda atoms: model.predict(atoms).seconds,
            seed=1,
        )
        assert picked == expected.indices.tolist()


# Label.


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Attempts run in this process: starting Parsl takes longer than all of them."""
    return make_bench(tmp_path / "bench", monkeypatch)


def test_label_writes_what_the_engine_says_and_keeps_provenance(entrove: Command, in_process):
    structures = copper(3)
    for atoms in structures:
        atoms.info[provenance.PHASE] = "fcc"
    write("picked.xyz", structures)
    engine = "cheap_campaign:Labels"  # EMT
    arguments = ("label", "picked.xyz", "--engine", engine, "--out", "labelled.xyz")
    code, output, errors = entrove(*arguments, "--json")
    assert code == 0, output + errors
    found = json.loads(output)
    labelled = read("labelled.xyz", ":")
    for atoms, row in zip(labelled, found["labels"], strict=True):
        energy = EMT().get_potential_energy(atoms)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-7)
        assert row["energy_eV"] == pytest.approx(atoms.get_potential_energy())
        assert atoms.info[provenance.PHASE] == "fcc"
        assert atoms.info[provenance.LEVEL_OF_THEORY] == found["level_of_theory_hash"]
    # Once more: everything comes from the folder of the labels.
    again = json.loads(entrove(*arguments, "--json")[1])
    assert [row["energy_eV"] for row in again["labels"]] == [
        row["energy_eV"] for row in found["labels"]
    ]


CRYSTAL_OF_FILE = """\
data_copper
_chemical_formula_sum 'Cu'
_cell_length_a 3.6
_cell_length_b 3.6
_cell_length_c 3.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
CU1 {} 0 0 0
"""


def test_label_reads_a_crystal_as_a_campaign_does(entrove: Command, in_process):
    """ "CU1" is no carbon, and half an atom cannot be labelled."""
    Path("whole.cif").write_text(CRYSTAL_OF_FILE.format(1))
    Path("half.cif").write_text(CRYSTAL_OF_FILE.format(0.5))
    arguments = ("--engine", "cheap_campaign:Labels", "--out", "labelled.xyz")
    code, _, errors = entrove("label", "half.cif", *arguments)
    assert code != 0
    assert "half.cif: frame 0: sites are partially occupied" in errors
    assert not Path("labelled.xyz").exists()
    code, output, errors = entrove("label", "whole.cif", *arguments)
    assert code == 0, output + errors
    assert "structures: read with element symbols in capitals" in errors
    (labelled,) = read_structures("labelled.xyz")
    assert labelled.get_chemical_formula() == "Cu4"


def test_a_value_that_looks_like_a_date_is_explained(entrove: Command):
    """Where it is read by YAML, and where it is none."""
    for value, said in (
        ("2026-30-11", "--set name=2026-30-11: '2026-30-11' looks like a date"),
        ("2026-11-30", "text belongs here"),
    ):
        code, _, errors = entrove("explore", "fcc.xyz", "--out", "p.xyz", "--set", f"name={value}")
        assert code == 2
        assert said in errors


def test_label_needs_structures_or_a_configuration_with_seeds(entrove: Command):
    for options in ((), ("--config", "quick.yaml")):
        code, _, errors = entrove("label", "--out", "labelled.xyz", *options)
        assert code == 2
        assert "no structures; give files of them, or --config with a section seeds" in errors


@pytest.mark.parametrize("command", ["relax", "explore", "label"])
def test_a_seed_of_the_configuration_is_not_replaced(entrove: Command, command: str):
    Path("seeds.yaml").write_text("seeds: [{phase: fcc, file: fcc.xyz}]\n")
    before = Path("fcc.xyz").read_text()
    code, _, errors = entrove(command, "--config", "seeds.yaml", "--out", "fcc.xyz")
    assert code == 2
    assert "fcc.xyz would be overwritten, and it is read" in errors
    assert Path("fcc.xyz").read_text() == before


def test_label_computes_again_what_did_not_converge(entrove: Command, in_process):
    structures = copper(2, labelled=True)
    structures[0].info["converged"] = False
    structures[1].info["SCF_converged"] = False
    write("unconverged.xyz", structures)
    assert [frame.converged for frame in read_frames("unconverged.xyz")] == [False, False]
    arguments = ("label", "unconverged.xyz", "--engine", "cheap_campaign:Labels")
    code, output, errors = entrove(*arguments, "--out", "labelled.xyz")
    assert code == 0, output + errors
    frames = list(read_frames("labelled.xyz"))
    assert len(frames) == len(structures)
    assert all(frame.atoms and frame.converged is None for frame in frames)


def test_labels_of_the_cache_say_what_others_cost(entrove: Command, in_process):
    write("pool.xyz", copper(4))
    engine = ("--set", "labelling.engine={name: ase, calculator: 'cheap_campaign:Labels'}")
    cache = (*engine, "--set", "labelling.cache=labels.sqlite")
    select_one = ("select", "pool.xyz", "--count", "3", "--budget", "25", "--out", "picked.xyz")
    select_one += ("--set", "entropy.kind=information", "--json")
    assert len(json.loads(entrove(*select_one, *cache)[1])["picked"]) == 3
    assert not Path("labels.sqlite").exists()
    assert entrove("label", "pool.xyz", "--out", "labelled.xyz", *cache)[0] == 0
    with contextlib.closing(sqlite3.connect("labels.sqlite")) as connection, connection:
        connection.execute("UPDATE labels SET engine_seconds = 10")
    after = json.loads(entrove(*select_one, *cache)[1])
    assert (len(after["picked"]), after["rejected"]["budget"]) == (2, 2)


def test_a_failed_label_has_exit_status_one_and_the_others_are_written(
    entrove: Command, in_process
):
    structures = copper(3)
    write("picked.xyz", structures)
    Labels.failing = {content_hash(read_structures("picked.xyz")[1])}
    code, output, _ = entrove(
        *("label", "picked.xyz", "--engine", "cheap_campaign:Labels", "--out", "labelled.xyz"),
        *("--set", "labelling.max_attempts=1"),
    )
    assert code == 1
    assert "2 converged, 1 crashed" in output
    assert "fails on purpose" in output
    assert len(read("labelled.xyz", ":")) == 2


def test_failures_of_an_earlier_call_are_computed_again(entrove: Command, in_process: Bench):
    """The user has corrected what they came from; labels that are good come from the cache."""
    write("picked.xyz", copper(3))
    pool = read_structures("picked.xyz")
    hashes = [content_hash(atoms) for atoms in pool]
    Labels.failing = {hashes[1]}
    arguments = ("label", "picked.xyz", "--engine", "cheap_campaign:Labels", "--out", "l.xyz")
    arguments += ("--set", "labelling.max_attempts=1")
    code, output, _ = entrove(*arguments)
    assert code == 1
    assert "the same command computes them again" in output
    calls = [in_process.computed.count(name) for name in hashes]
    # Still failing, it fails again, and costs no other label.
    assert entrove(*arguments)[0] == 1
    assert [in_process.computed.count(name) for name in hashes] == [1, 1 + calls[1], 1]
    Labels.failing = set()
    code, output, errors = entrove(*arguments, "--json")
    assert code == 0, output + errors
    assert [in_process.computed.count(name) for name in hashes] == [1, 2 + calls[1], 1]
    assert len(read("l.xyz", ":")) == 3
    # What was tried before stays to be looked at.
    assert list(Path("l-labels").glob("*/*/released-*-attempt-1"))


def test_a_failure_that_a_campaign_has_quarantined_stays_there(
    entrove: Command, in_process: Bench
):
    """They share a cache, in which the campaign decides what is tried again."""
    write("picked.xyz", copper(1))
    (atoms,) = read_structures("picked.xyz")
    name = content_hash(atoms)
    Labels.failing = {name}
    arguments = ("label", "picked.xyz", "--engine", "cheap_campaign:Labels", "--out", "l.xyz")
    arguments += ("--set", "labelling.max_attempts=1", "--set", "labelling.cache=shared.sqlite")
    assert entrove(*arguments, "--folder", "of-another")[0] == 1
    Labels.failing = set()
    before = in_process.computed.count(name)
    assert entrove(*arguments, "--folder", "here")[0] == 1
    assert in_process.computed.count(name) == before


def computed_antiferromagnet(magmoms: list[float]) -> Atoms:
    """Iron as the output of a code has it: with the moments that it ended with, and no others."""
    iron = bulk("Fe", "bcc", a=2.86, cubic=True)
    iron.set_initial_magnetic_moments(None)
    results = {"energy": -16.0, "forces": np.zeros((2, 3)), "magmoms": np.array(magmoms)}
    iron.calc = SinglePointCalculator(iron, **results)
    return iron


def test_computed_moments_are_those_that_a_new_label_starts_from(
    entrove: Command, in_process: Bench
):
    started: list[list[float] | None] = []
    submit = in_process.submit

    def record(attempt: Attempt):
        started.append(attempt.moments)
        return submit(attempt)

    in_process.submit = record  # type: ignore[method-assign]
    write("old.traj", [computed_antiferromagnet([2.24, -2.21])])
    entrove("label", "old.traj", "--engine", "cheap_campaign:Labels", "--out", "new.xyz")
    assert {tuple(sorted(moments or ())) for moments in started} == {(-2.21, 2.24)}


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (
            "{name: espresso, command: 'true', pseudopotential_folder: ., cutoff_eV: 400, "
            "pseudopotentials: {Fe: Fe.upf}, starting_magnetization: {Fe: 0.5}}",
            "antiferromagnet, but espresso starts from one per element",
        ),
        ("{name: gpaw}", "these labels would have no spin polarisation; give the engine spin_pol"),
    ],
)
def test_label_refuses_moments_that_the_engine_would_drop(
    entrove: Command, engine: str, says: str, initial: bool
):
    """As a campaign does: the label would be stored as one of the antiferromagnet."""
    iron = computed_antiferromagnet([2.24, -2.21])
    if initial:
        iron.set_initial_magnetic_moments([2.2, -2.2])
        iron.calc = None
    write("old.traj", [iron])
    Path("Fe.upf").write_text("pseudopotential")
    arguments = ("label", "old.traj", "--out", "new.xyz", "--set", f"labelling.engine={engine}")
    code, _, errors = entrove(*arguments)
    assert code != 0
    assert says in errors
    assert not Path("new-labels").exists()


def test_ctrl_c_while_labelling_says_what_is_kept(
    entrove: Command, in_process, monkeypatch: pytest.MonkeyPatch
):
    write("picked.xyz", copper(3))

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("entrove.labelling.labeller.Labeller.label", interrupt)
        code, _, errors = entrove(
            "label", "picked.xyz", "--engine", EMT_NAME, "--out", "labelled.xyz"
        )
    assert code == 130
    assert "finished labels are in labelled-labels, and the same command continues" in errors
    assert not Path("labelled.xyz").exists()


def test_ctrl_c_elsewhere_says_that_nothing_was_written(entrove: Command, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("entrove.cli.stages.explore.explore", interrupt)
    code, _, errors = entrove("explore", "fcc.xyz", "--config", "quick.yaml", "--out", "c.xyz")
    assert code == 130
    assert "stopped; nothing was written" in errors
    assert str(Stopped("x")) == "x"


# Wrong input.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("relax", "--out", "r.xyz"), "no crystal to start from; give structure files"),
        (("relax", "no.xyz", "--out", "r.xyz"), "no.xyz: no such file"),
        (("relax", "fcc.xyz", "--out", "r.cif"), "structures are written as extended XYZ"),
        (
            ("relax", "fcc.xyz", "--out", "no/r.xyz"),
            "--out no/r.xyz: the folder no does not exist; create it",
        ),
        (("relax", "fcc.xyz", "--model", "7net-O", "--out", "r.xyz"), "Did you mean '7net-0'"),
        (
            ("relax", "fcc.xyz", "--pressures-GPa", "high", "--out", "r.xyz"),
            "give numbers, such as --pressures-GPa 0,10",
        ),
        (
            ("explore", "fcc.xyz", "--set", "sampling.chunk=3", "--out", "r.xyz"),
            "options: sampling.chunk: unknown key; did you mean 'chunks'?",
        ),
        (
            ("explore", "fcc.xyz", "--set", "training", "--out", "r.xyz"),
            "give a key and its value, such as --set training.epochs=10",
        ),
        (
            ("explore", "fcc.xyz", "--config", "wrong.yaml", "--out", "r.xyz"),
            "wrong.yaml:1: sampling.chunk: unknown key; did you mean 'chunks'?",
        ),
        (("explore", "fcc.xyz", "--config", "no.yaml", "--out", "r.xyz"), "no.yaml: no such file"),
        (("select", "no.xyz", "--out", "r.xyz"), "no.xyz: no such file"),
        (("label", "fcc.xyz", "--engine", "gpau", "--out", "r.xyz"), "unknown name 'gpau'"),
        (("label", "fcc.xyz", "--engine", "no:Such", "--out", "r.xyz"), "no"),
        (("train", "fcc.xyz", "--out", "model"), "no frame can be used; the first: fcc.xyz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_ends_with_one_message(entrove: Command, arguments, message):
    Path("wrong.yaml").write_text("sampling: {chunk: 3}\n")
    before = sorted(path.name for path in Path().iterdir())
    code, _, errors = entrove(*arguments)
    assert code in (1, 2)
    assert message in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in Path().iterdir() if "labels" not in path.name) == before


def test_training_refuses_labels_of_two_levels(entrove: Command):
    labelled = copper(4, labelled=True)
    for index, atoms in enumerate(labelled):
        atoms.info[provenance.LEVEL_OF_THEORY] = "ab"[index % 2]
    write("labels.xyz", labelled)
    code, _, errors = entrove("train", "labels.xyz", "--out", "model")
    assert code == 2
    assert "several levels of theory (a, b)" in errors


@pytest.mark.parametrize(
    "arguments", [("--set", "training.strategy=lora"), ("--config", "a.yaml")]
)
def test_training_refuses_what_the_framework_of_its_model_lacks(entrove: Command, arguments):
    write("labels.xyz", copper(4, labelled=True))
    Path("a.yaml").write_text("model: {name: 7net-0}\ntraining: {strategy: lora}\n")
    code, _, errors = entrove(
        "train", "labels.xyz", "--model", "cu.nequip.zip", *arguments, "--out", "model"
    )
    assert code == 2
    message = "training: strategy=lora is not for framework nequip, which has naive and frozen"
    assert message in " ".join(errors.split())


@pytest.mark.parametrize("out", [".", "..", "../here"])
def test_training_does_not_replace_the_present_folder(entrove: Command, monkeypatch, out):
    write("labels.xyz", copper(4, labelled=True))
    Path("here").mkdir()
    monkeypatch.chdir("here")
    code, _, errors = entrove("train", "../labels.xyz", "--out", out)
    assert code == 2
    assert "is the present folder or one that holds it" in " ".join(errors.split())
    assert not list(Path().iterdir())


def test_snapshots_for_replay_are_neither_labelled_nor_held_out(capsys):
    labels, others = copper(3, labelled=True), copper(6)[3:]
    held_out = [others[0]]
    write("snapshots.xyz", [labels[1].copy(), *others])
    replaying = TrainingConfig(replay=0.2)
    messages = Console()
    found = read_snapshots([Path("snapshots.xyz")], replaying, labels, held_out, messages)
    assert [content_hash(atoms) for atoms in found] == [content_hash(a) for a in others[1:]]
    assert "2 snapshots are left out" in capsys.readouterr().out
    assert read_snapshots([], replaying, labels, held_out, messages) == []
    assert "replay: dimers only" in capsys.readouterr().out


def test_snapshots_without_replay_are_refused(entrove: Command):
    write("labels.xyz", copper(4, labelled=True))
    write("snapshots.xyz", copper(6)[4:])
    code, _, errors = entrove(
        "train", "labels.xyz", "--snapshots", "snapshots.xyz", "--out", "model"
    )
    assert code == 2
    assert "--set training.replay=0.1" in " ".join(errors.split())


def test_the_crystals_of_a_bundle_are_those_of_its_labels_in_any_order():
    """Not a molecule, and no snapshot of MD, that happens to be first."""
    dimer = Atoms("Cu2", positions=[[0.0, 0.0, 0.0], [2.3, 0.0, 0.0]])
    molecule = attach_results(dimer, 0.0, np.zeros((2, 3)), np.zeros(6))
    snapshot = bulk("Cu", a=3.6, cubic=True).repeat((2, 1, 1))
    snapshot.rattle(0.3, seed=1)
    crystals = [snapshot, bulk("Cu", a=3.6, cubic=True), bulk("Cu", "hcp", a=2.55)]
    periodic = [
        attach_results(
            atoms, EMT().get_potential_energy(atoms), np.zeros((len(atoms), 3)), np.zeros(6)
        )
        for atoms in crystals
    ]
    periodic[2].info["entrove_phase"] = "close packed"
    for labels in ([molecule, *periodic], [*periodic, molecule], [periodic[0], *periodic[1:]]):
        found = {atoms.info["entrove_phase"]: len(atoms) for atoms in examples_of(labels)}
        assert found == {"Cu_Fm-3m": 1, "close packed": 2}
    # Files for LAMMPS need a periodic structure.
    (alone,) = examples_of([molecule, periodic[0]])
    assert alone is periodic[0]
    assert examples_of([molecule]) == [molecule]


# The whole way, with real processes.


@pytest.mark.slow
def test_the_stages_together_make_a_potential(entrove: Command):
    plain = "sampling={biases: [{entropy: none}], replicas: 2, chunks: 3}"
    explored(entrove, "--set", plain)
    steps = (
        ("select", "candidates.xyz", "--count", "6", "--out", "picked.xyz"),
        ("label", "picked.xyz", "--engine", EMT_NAME, "--out", "labelled.xyz"),
    )
    for arguments in steps:
        code, _, errors = entrove(*arguments, "--config", "quick.yaml")
        assert code == 0, errors
    labelled = read("labelled.xyz", ":")
    train = (
        *("train", "train.xyz", "--validation", "test.xyz", "--epochs", "2", "--out", "model"),
        *("--set", "model.threads=1", "--json"),
    )
    # Snapshots of one walker on both sides are a leak.
    write("train.xyz", labelled[:-1])
    write("test.xyz", labelled[-1:])
    code, _, errors = entrove(*train)
    assert (code, "a trajectory that is also in the training set" in errors) == (1, True)
    walkers = [atoms.info[provenance.WALKER] for atoms in labelled]
    assert {*walkers} == {0, 1}
    unseen = [atoms for atoms, walker in zip(labelled, walkers, strict=True) if walker == 1]
    known = [atoms for atoms, walker in zip(labelled, walkers, strict=True) if walker != 1]
    write("train.xyz", known)
    write("test.xyz", unseen)
    code, output, errors = entrove(*train)
    assert output, errors
    found = json.loads(output)
    assert code == (0 if found["accepted"] else 1), errors
    assert (found["training_labels"], found["epochs"]) == (len(known), 2)
    import entrove as package

    calculator = package.load_model("model", device="cpu")
    errors_meV = []
    for label in unseen:
        atoms = label.copy()
        atoms.calc = calculator
        error = atoms.get_potential_energy() - label.get_potential_energy()
        errors_meV.append(1000 * abs(error) / len(atoms))
    # In single precision an energy per atom is known to 1e-3 meV.
    assert np.mean(errors_meV) == pytest.approx(
        found["tuned"]["energy_mae_meV_per_atom"], abs=0.01
    )
