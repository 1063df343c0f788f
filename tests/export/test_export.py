"""An export is complete, checked, and refused when it is not the potential of the bundle."""

import dataclasses
import inspect
import json
import math
import os
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

import entrove
from entrove.cli.main import app
from entrove.errors import CampaignError, ConfigError, ModelError
from entrove.export import Agreement, export
from entrove.export.agreement import Prediction, compare_predictions
from entrove.export.lammps.folder import EXPORTERS
from entrove.export.lammps.interface import PairStyle
from entrove.export.lammps.readme import write_readme
from entrove.export.lammps.run import Lammps, run_on_structures
from entrove.export.lammps.sevennet import SevenNetForLammps
from entrove.export.source import find_source
from entrove.models.nequip.loading import nequip_settings
from entrove.structures import attach_results, read_structures, write_structures
from entrove.training.bundle import Regime, read_bundle
from entrove.training.trainers import TRAINERS
from export_bundles import periodic_structures, put_bundle
from small_sevennet import write_small_sevennet

RELEASED = Path(__file__).parents[1] / "campaign/data/release-0.1.tar.xz"


@pytest.fixture(scope="module")
def for_lammps(bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("lammps") / "out"
    return export(bundle, "lammps", out, device="cpu", lammps=None)


def test_the_file_for_lammps_gives_what_the_bundle_gives(for_lammps):
    """Species, images, a left-handed and a skewed cell; float32 on both sides."""
    check = for_lammps.checks[0]
    assert check.run
    assert check.agreement.structures == 3
    assert check.agreement.energy_eV_per_atom < 2e-6
    assert check.agreement.forces_eV_per_A < 2e-5
    assert check.agreement.stress_eV_per_A3 < 2e-6


def test_lammps_loads_a_plugin_by_one_word(bundle, tmp_path):
    """It splits a line at blanks, and a name without a slash is none in the current folder."""
    folder = tmp_path / "my folder"
    folder.mkdir()
    plugin = folder / "my e3gnn plugin.so"
    plugin.write_text("of a compiler")
    exported = export(bundle, "lammps", folder / "out", device="cpu", lammps=None, plugin=plugin)
    structures = periodic_structures()[:1]
    style = PairStyle("e3gnn", "potential.pt", "on", "one rank")
    work = tmp_path / "work"
    work.mkdir()
    does_nothing = Lammps("true", "", frozenset({"e3gnn"}))
    with pytest.raises(ModelError, match="gave results for 0 of 1 structures"):
        run_on_structures(
            does_nothing, exported.folder, style, ["Si", "Na", "Cl"], structures, plugin, work
        )
    for inputs in (exported.folder / "in.lammps", work / "in.check"):
        lines = [line.split() for line in inputs.read_text().splitlines()]
        [(_, _, file)] = [line for line in lines if line[:2] == ["plugin", "load"]]
        assert "/" in file
        assert (inputs.parent / file).read_text() == "of a compiler"


def test_the_readme_says_what_the_bundle_records(bundle):
    source = find_source(bundle)
    style = PairStyle("e3gnn", "potential.pt", "on", "one rank")

    def first_lines(**changes: object) -> str:
        changed = source.bundle.model_copy(update=changes)
        known = dataclasses.replace(source, bundle=changed)
        text = write_readme(known, style, ["Si"], [], how_to_build="", files=())
        return text.split("- `in.lammps`")[0]

    recorded = first_lines(metrics={"force_mae_meV_per_A": 12.5})
    assert "small, tuned; level of theory: Lennard-Jones." in recorded
    assert "Trained and validated for Si, Na, Cl; phases: salt; pressures: 0 GPa" in recorded
    nothing = Regime(phases=(), pressures_GPa=(), temperatures_K=())
    bare = first_lines(regime=nothing, random_weights=True)
    assert "small, trained from random weights;" in bare
    assert (
        "Trained for Si, Na, Cl; phases: not recorded; pressures: not recorded; temperatures: "
        "not recorded." in bare
    )


def test_the_input_names_species_in_the_order_of_the_atom_types(for_lammps):
    text = (for_lammps.folder / "in.lammps").read_text()
    commands = [line.split("#")[0].split() for line in text.splitlines()]
    assert ["pair_coeff", "*", "*", "potential.pt", "Si", "Na", "Cl"] in commands
    assert ["units", "metal"] in commands
    assert ["read_data", "structure.data"] in commands
    assert ["run", "0"] in commands
    # Every command has a comment on its line, or a block of comments above it.
    assert text.count("#") >= 15
    data = (for_lammps.folder / "structure.data").read_text()
    assert [line.split("#")[1].strip() for line in data.splitlines() if "# " in line][:3] == [
        "Si",
        "Na",
        "Cl",
    ]


def test_what_was_and_was_not_run_is_said(for_lammps, monkeypatch, tmp_path, bundle):
    monkeypatch.setenv("PATH", str(tmp_path))
    again = export(bundle, "lammps", tmp_path / "out", device="cpu")
    assert [check.run for check in again.checks] == [True, False]
    assert "no program 'lmp' on the PATH that starts" in again.checks[1].note
    readme = (again.folder / "README.md").read_text()
    record = json.loads((again.folder / "export.json").read_text())
    for check, stored in zip(again.checks, record["checks"], strict=True):
        assert check.describe() in readme
        assert (stored["what"], stored["run"]) == (check.what, check.run)
    assert record["weights_sha256"] == read_bundle(bundle).weights[0].sha256
    assert (again.folder / "plugin" / "build_plugin.sh").is_file()


def test_the_command_prints_its_checks_as_json(tmp_path):
    with tarfile.open(RELEASED) as archive:
        archive.extractall(tmp_path, filter="data")
    campaign, out = str(tmp_path / "campaign"), str(tmp_path / "out")
    printed = CliRunner().invoke(
        app, ["export", campaign, "--to", "extxyz", "--out", out, "--json"]
    )
    found = json.loads(printed.stdout)
    assert (printed.exit_code, found["out"], found["to"]) == (0, out, "extxyz")
    assert found["checks"] == json.loads((tmp_path / "out/export.json").read_text())["checks"]


def test_a_file_of_another_potential_is_refused_and_nothing_is_left(bundle, tmp_path, monkeypatch):
    other = write_small_sevennet(tmp_path / "other.pth", seed=1)
    write = SevenNetForLammps.write

    def write_other(self, model_name, checkpoint, folder, device):
        return write(self, model_name, other, folder, device)

    monkeypatch.setattr(SevenNetForLammps, "write", write_other)
    with pytest.raises(ModelError, match="is not the potential of the bundle: energies differ"):
        export(bundle, "lammps", tmp_path / "out", device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pth"]


def test_differences_are_the_largest_ones_and_nan_passes_nothing():
    zero = Prediction(1.0, np.zeros((2, 3)), np.zeros(6))
    moved = Prediction(1.5, np.array([[0.0, 0.0, -0.2], [0.1, 0.0, 0.0]]), np.full(6, 0.03))
    found = compare_predictions([zero, zero], [zero, moved])
    # Two roundings to single precision explain 2 x 2^-24 of 0.5 eV/atom.
    assert found == Agreement(2, 4, 0.25, 0.25 - 2.0**-24, 0.2, 0.03)
    assert len(found.problems()) == 3
    assert compare_predictions([moved], [moved]).problems() == []
    broken = dataclasses.replace(moved, forces_eV_per_A=np.full((2, 3), math.nan))
    assert compare_predictions([zero, zero], [broken, zero]).problems()[1].startswith("forces")


def test_rounding_to_single_precision_is_no_difference():
    """Two roundings of an atomic energy explain 2 x 2^-24 of it; a sum in float32 N - 1 more."""

    def prediction(energy_eV_per_atom: float) -> Prediction:
        return Prediction(8 * energy_eV_per_atom, np.zeros((8, 3)), np.zeros(6))

    exact, atom = prediction(-3370.0), 3370.0 * 2.0**-24
    for roundings, in_single in ((2, False), (9, True)):
        explained, too_much = (
            compare_predictions(
                [exact], [prediction(-3370.0 + factor * atom)], summed_in_single=in_single
            ).problems()
            for factor in (0.99 * roundings, 1.1 * roundings)
        )
        assert explained == []
        assert too_much[0].startswith("energies differ")


@pytest.mark.parametrize("target", ["ase", "torch-sim", "lammps"])
def test_a_potential_with_energies_of_all_electrons_is_exported(target, tmp_path, monkeypatch):
    checkpoint = write_small_sevennet(tmp_path / "iron.pth", ["Fe"], shift=-3370.0)
    cells = [bulk("Fe", cubic=True).repeat(count) for count in (1, 3)]
    for seed, atoms in enumerate(cells):
        atoms.rattle(0.05, seed=seed)
    iron = put_bundle(tmp_path / "model", checkpoint, "sevennet", ["Fe"], cells)
    monkeypatch.setenv("PATH", str(tmp_path))
    exported = export(iron, target, tmp_path / "out", device="cpu")
    assert [check.agreement.structures for check in exported.checks if check.agreement] == [2]
    if target == "lammps":
        # 1e-3 eV/atom are four units in the last place of an atomic energy in float32.
        other = write_small_sevennet(tmp_path / "other.pth", ["Fe"], shift=-3369.999)
        write = SevenNetForLammps.write
        monkeypatch.setattr(
            SevenNetForLammps,
            "write",
            lambda self, name, checkpoint, folder, device: write(
                self, name, other, folder, device
            ),
        )
        with pytest.raises(ModelError, match="energies differ"):
            export(iron, target, tmp_path / "again", device="cpu")


def test_targets_and_folders_that_do_not_fit_are_refused(bundle, tmp_path):
    with pytest.raises(ConfigError, match="to='gromacs', but a bundle is exported to lammps"):
        # As users have it, without the type checks of these tests.
        inspect.unwrap(export)(bundle, "gromacs")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    with pytest.raises(ConfigError, match="was not written by 'entrove export'"):
        export(bundle, "lammps", tmp_path / "thesis")
    with pytest.raises(ModelError, match="not a model bundle"):
        export(tmp_path, "ase")
    with pytest.raises(ModelError, match="no such program; give the path of LAMMPS"):
        export(bundle, "lammps", tmp_path / "out", lammps=str(tmp_path / "lmp"))
    with pytest.raises(ModelError, match="does not answer '-h' as LAMMPS does"):
        export(bundle, "lammps", tmp_path / "out", lammps=sys.executable)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis"]


def test_a_bundle_without_structures_asks_for_some(bundle, tmp_path):
    bare = shutil.copytree(bundle, tmp_path / "bare")
    (bare / "validation.xyz").unlink()
    (bare / "examples.xyz").unlink()
    with pytest.raises(ModelError, match="give some with --structures"):
        export(bare, "lammps", tmp_path / "out", device="cpu")
    exported = export(
        bare, "lammps", tmp_path / "out", device="cpu", structures=periodic_structures()[:1]
    )
    assert exported.checks[0].agreement.structures == 1


def test_labels_are_exported_with_their_provenance(tmp_path, monkeypatch):
    with tarfile.open(RELEASED) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    exported = export(tmp_path / "campaign", "extxyz")
    assert exported.folder == Path("copper-extxyz")
    again = read_structures(exported.folder / "training.xyz")
    original = read_structures(tmp_path / "campaign" / "dataset.xyz")
    assert [atoms.info for atoms in again] == [atoms.info for atoms in original]
    description = json.loads((exported.folder / "dataset.json").read_text())
    assert description["files"]["training.xyz"]["labels"] == len(original)
    readme = (exported.folder / "README.md").read_text()
    keys = {key for atoms in again for key in atoms.info if key.startswith("entrove_")}
    assert all(f"`{key}`" in readme for key in keys)
    files = ["README.md", "dataset.json", "export.json", "training.xyz", "validation.xyz"]
    assert sorted(os.listdir(exported.folder)) == files
    # An export replaces an earlier one. Campaigns since 0.1 have a test set beside.
    tests = [atoms.copy() for atoms in original[:2]]
    write_structures(
        tmp_path / "campaign" / "test.xyz",
        [attach_results(a, -1.0, np.zeros((len(a), 3)), np.zeros(6)) for a in tests],
    )
    assert export(tmp_path / "campaign", "extxyz").folder == exported.folder
    assert sorted(os.listdir(exported.folder)) == sorted([*files, "test.xyz"])
    assert len(read_structures(exported.folder / "test.xyz")) == 2


@pytest.mark.parametrize("out", [".", "", "..", "../here"])
def test_the_present_folder_and_its_parents_are_not_replaced(bundle, tmp_path, monkeypatch, out):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match="which an export cannot replace; name a folder in it"):
        export(bundle, "lammps", out)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("target", ["lammps", "ase", "torch-sim"])
@pytest.mark.parametrize("inside", [None, "out", "weights/out"])
def test_nothing_is_written_into_the_bundle(bundle, tmp_path, monkeypatch, target, inside):
    """Its copy would hold itself, and a bundle has its own files only."""
    own = shutil.copytree(bundle, tmp_path / "model")
    before = sorted(path.relative_to(own) for path in own.rglob("*"))
    monkeypatch.chdir(own)
    with pytest.raises(ConfigError, match=r"lies in the bundle .*name a folder outside of it"):
        export(".", target, inside, device="cpu")
    assert sorted(path.relative_to(own) for path in own.rglob("*")) == before


def test_labels_are_not_written_into_the_bundle_of_their_campaign(tmp_path):
    with tarfile.open(RELEASED) as archive:
        archive.extractall(tmp_path, filter="data")
    campaign = tmp_path / "campaign"
    with pytest.raises(ConfigError, match=r"lies in the bundle .*name a folder outside of it"):
        export(campaign, "extxyz", campaign / "model" / "labels")
    assert not (campaign / "model" / "labels").exists()


def atoms_in(data_file: Path) -> int:
    """The number of atoms of a data file of LAMMPS."""
    (line,) = [line for line in data_file.read_text().splitlines() if line.endswith(" atoms")]
    return int(line.split()[0])


def bundle_of_one_atom(tmp_path: Path) -> Path:
    """Its example is a primitive cell, in which nothing can move."""
    checkpoint = write_small_sevennet(tmp_path / "small.pth")
    sodium = bulk("Na", "bcc", a=4.2)
    assert len(sodium) == 1
    return put_bundle(tmp_path / "model", checkpoint, "sevennet", ["Na", "Si", "Cl"], [sodium])


def test_molecular_dynamics_has_more_than_one_atom(tmp_path):
    exported = export(bundle_of_one_atom(tmp_path), "lammps", tmp_path / "out", device="cpu")
    assert atoms_in(exported.folder / "structure.data") == 8


@pytest.mark.slow
@pytest.mark.parametrize("to", ["ase", "torch-sim"])
def test_scripts_run_where_the_example_is_a_cell_of_one_atom(tmp_path, to):
    exported = export(bundle_of_one_atom(tmp_path), to, tmp_path / "out", device="cpu")
    assert exported.checks[0].run
    assert len(read_structures(exported.folder / "structure.xyz")[0]) == 8


def test_structures_that_are_given_are_run_instead_of_those_of_the_bundle(bundle, tmp_path):
    given = bulk("Si", cubic=True).repeat((2, 1, 1))
    exported = export(bundle, "lammps", tmp_path / "out", device="cpu", structures=[given])
    assert atoms_in(exported.folder / "structure.data") == len(given)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [list, iter])
def test_scripts_run_the_structures_that_are_given(bundle, tmp_path, kind):
    given = kind([bulk("Si", cubic=True)])
    exported = export(bundle, "ase", tmp_path / "out", device="cpu", structures=given)
    (run,) = read_structures(exported.folder / "structure.xyz")
    assert run.get_chemical_formula() == "Si8"


def test_a_bundle_away_from_its_campaign_has_no_labels_to_export(bundle, tmp_path):
    with pytest.raises(CampaignError, match="give the folder that 'entrove run' wrote"):
        export(bundle, "extxyz", tmp_path / "out")


def test_a_campaign_without_a_model_says_so(tmp_path):
    with tarfile.open(RELEASED) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "campaign.yaml").write_text("seeds: []\n")
    for path in (tmp_path / "campaign", tmp_path, tmp_path / "campaign.yaml"):
        with pytest.raises(ModelError, match="has no model yet; it writes one at its end"):
            export(path, "ase", tmp_path / "out")
    with pytest.raises(ModelError, match="has no model yet"):
        export(tmp_path / "campaign" / "model", "ase", tmp_path / "out")


@pytest.mark.parametrize("path", ["", "campaign.yaml", "campaign"])
def test_a_campaign_is_exported_by_every_path_that_stands_for_it(tmp_path, bundle, path):
    """As `run`, `status` and other commands find it."""
    with tarfile.open(RELEASED) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "campaign.yaml").write_text("seeds: []\n")
    assert export(tmp_path / path, "extxyz", tmp_path / "out").folder.is_dir()
    shutil.copytree(bundle, tmp_path / "campaign" / "model")
    found = find_source(tmp_path / path)
    assert found.campaign is not None
    assert found.folder.resolve() == (tmp_path / "campaign" / "model").resolve()


def test_a_campaign_that_was_not_started_is_not_exported(tmp_path):
    (tmp_path / "campaign.yaml").write_text("seeds: []\n")
    with pytest.raises(CampaignError, match=r"none was started in .*; start it with: entrove run"):
        export(tmp_path, "lammps", tmp_path / "out")


def test_every_framework_that_can_be_trained_can_be_exported():
    assert set(EXPORTERS) == set(TRAINERS)


def test_structures_of_other_elements_are_refused(bundle, tmp_path):
    with pytest.raises(ModelError, match="trained on Si, Na, Cl, and the structures hold Cu as"):
        export(bundle, "lammps", tmp_path / "out", structures=[bulk("Cu")])


@pytest.mark.slow
@pytest.mark.parametrize("to", ["ase", "torch-sim"])
def test_scripts_for_python_run_and_carry_the_bundle(bundle, tmp_path, to):
    exported = export(bundle, to, tmp_path / "out", device="cpu")
    assert [check.run for check in exported.checks] == [True, True]
    assert exported.checks[1].agreement.structures == 3
    atoms = periodic_structures()[0]
    here, there = (
        entrove.load_model(folder, device="cpu").get_potential_energy(atoms)
        for folder in (bundle, exported.folder / "model")
    )
    assert here == there


@pytest.mark.slow
def test_the_parallel_file_of_sevennet_has_a_part_per_layer(bundle, tmp_path):
    exported = export(bundle, "lammps", tmp_path / "out", device="cpu", parallel=True)
    parts = sorted(path.name for path in (exported.folder / "potential_parallel").iterdir())
    assert parts == ["deployed_parallel_0.pt", "deployed_parallel_1.pt"]
    last = exported.checks[-1]
    assert (last.what, last.run) == ("LAMMPS, pair style e3gnn/parallel", False)
    assert last.describe() in (exported.folder / "README.md").read_text()
    assert (
        "# pair_coeff      * * 2 potential_parallel Si Na Cl"
        in (exported.folder / "in.lammps").read_text()
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["ALLEGRO", "NEQUIP"])
def test_compiled_files_of_nequip_give_what_the_bundle_gives(architecture, tmp_path):
    """`nequip-compile` for real; the pair styles themselves are not run."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
    import small_allegro

    with nequip_settings():
        checkpoint = small_allegro.write_checkpoint(
            tmp_path / "model.ckpt", getattr(small_allegro, architecture)
        )
    structures = periodic_structures()
    for atoms in structures:
        atoms.symbols = ["Si", "C"] * (len(atoms) // 2)
    # The order of the species is not that of the network.
    bundle = put_bundle(tmp_path / "model", checkpoint, "nequip", ["C", "Si"], structures)
    exported = export(bundle, "lammps", tmp_path / "out", device="cpu")
    agreement = exported.checks[0].agreement
    assert agreement.structures == 3
    # Double precision on both sides.
    assert agreement.energy_eV_per_atom < 1e-9
    assert agreement.forces_eV_per_A < 1e-9
    assert agreement.stress_eV_per_A3 < 1e-10
    newton = {"ALLEGRO": "on", "NEQUIP": "off"}[architecture]
    text = (exported.folder / "in.lammps").read_text()
    assert f"newton          {newton}" in text
    assert f"pair_style      {architecture.lower()}" in text


@pytest.mark.slow
@pytest.mark.skipif(
    "ENTROVE_LAMMPS_PLUGIN" not in os.environ or shutil.which("lmp") is None,
    reason="needs lmp on PATH, and ENTROVE_LAMMPS_PLUGIN: the plugin that build_plugin.sh makes",
)
def test_lammps_itself_gives_what_the_bundle_gives(bundle, tmp_path):
    plugin = os.environ["ENTROVE_LAMMPS_PLUGIN"]
    exported = export(bundle, "lammps", tmp_path / "out", device="cpu", plugin=plugin)
    assert [check.run for check in exported.checks] == [True, True, True]
    assert exported.checks[1].agreement.structures == 3
    assert exported.checks[1].agreement.forces_eV_per_A < 1e-4
