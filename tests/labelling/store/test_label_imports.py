import io
import re
from pathlib import Path

import ase.db
import ase.test
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from rich.console import Console

from entrove.cli.stages.structures import read_labelled
from entrove.curation import audit
from entrove.errors import LabelError
from entrove.formats import LabelKeys
from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.sanity import SanityLimits
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.file_conventions import judge_conventions
from entrove.labelling.store.imports import import_labels
from entrove.provenance import LEVEL_OF_THEORY
from entrove.structures import content_hash
from entrove.units import EV_PER_A3_IN_GPA

OUTCAR = Path(ase.test.__file__).parent / "testdata" / "vasp" / "OUTCAR_example_1"
LEVEL = LevelOfTheory.of(AseCalculator(calculator="ase.calculators.emt:EMT"))


def labelled_copper(count: int) -> list[Atoms]:
    structures = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, rng=np.random.default_rng(seed))
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        structures.append(atoms)
    return structures


def write_database(path: Path, structures: list[Atoms]) -> None:
    with ase.db.connect(path, use_lock_file=False) as database:
        for atoms in structures:
            database.write(atoms)


@pytest.mark.parametrize("name", ["labels.xyz", "labels.db", "labels.json"])
def test_labels_of_a_file_become_labels_of_the_cache(tmp_path: Path, name: str):
    structures = labelled_copper(3)
    if name.endswith("xyz"):
        write(tmp_path / name, structures, format="extxyz")
    else:
        write_database(tmp_path / name, structures)
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / name, LEVEL, cache)
        assert (report.stored, report.known, report.refused) == (3, 0, ())
        assert import_labels(tmp_path / name, LEVEL, cache).known == 3
        for atoms, stored in zip(structures, cache.labelled_structures(LEVEL), strict=True):
            # Extended XYZ keeps eight digits after the point.
            assert stored.get_potential_energy() == pytest.approx(
                atoms.get_potential_energy(), abs=1e-7
            )
            np.testing.assert_allclose(stored.get_stress(), atoms.get_stress(), atol=1e-7)


def test_structures_without_a_usable_label_are_refused_one_by_one(tmp_path: Path):
    good, bare, absurd, stranger, forceless = labelled_copper(5)
    bare.calc = None
    absurd.calc.results["forces"] = absurd.calc.results["forces"] + 1e6
    stranger.info[LEVEL_OF_THEORY] = "0123456789abcdef"
    forceless.calc = SinglePointCalculator(forceless, energy=1.0)
    write(tmp_path / "mixed.xyz", [good, bare, absurd, stranger, forceless], format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "mixed.xyz", LEVEL, cache)
    assert report.stored == 1
    assert [refused.index for refused in report.refused] == [1, 2, 3, 4]
    assert "it has no energy" in report.refused[0].cause
    assert "is above the limit" in report.refused[1].cause
    assert "its own level of theory is 0123456789abcdef" in report.refused[2].cause
    assert "it has no forces" in report.refused[3].cause


def without_stress(structures: list[Atoms]) -> list[Atoms]:
    """As VASP's MD writes them, which computes none by default (ISIF = 0)."""
    bare = []
    for atoms in structures:
        bare.append(atoms.copy())
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        bare[-1].calc = SinglePointCalculator(bare[-1], energy=energy, forces=forces)
    return bare


def test_crystals_without_a_stress_are_imported_and_counted(tmp_path: Path):
    structures = labelled_copper(3)
    mixed = [*without_stress(structures[:2]), structures[2]]
    write(tmp_path / "md.xyz", mixed, format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "md.xyz", LEVEL, cache)
        assert (report.stored, report.refused) == (3, ())
        told = "a crystal without stress: its energy and forces count alone (in 2 frames)"
        assert told in report.conventions
        labels = [cache.get(atoms, LEVEL) for atoms in structures]
    for label, atoms in zip(labels, structures, strict=True):
        assert label is not None
        np.testing.assert_allclose(label.attach(atoms).get_forces(), atoms.get_forces(), atol=1e-7)
    assert [label is not None and label.lacks_stress_of(bulk("Cu")) for label in labels] == [
        True,
        True,
        False,
    ]


def test_a_molecule_lacks_no_stress(tmp_path: Path):
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])
    pair.calc = EMT()
    pair.get_forces()
    write(tmp_path / "pair.xyz", pair, format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "pair.xyz", LEVEL, cache)
    assert report.stored == 1
    assert not any("stress" in line for line in report.conventions)


@pytest.mark.parametrize("wrong_energy", [False, True])
def test_a_stress_is_added_to_an_imported_label_that_had_none(tmp_path: Path, wrong_energy: bool):
    """In whichever order the files come, the label ends with the stress."""
    structures = labelled_copper(2)
    write(tmp_path / "md.xyz", without_stress(structures), format="extxyz")
    if wrong_energy:  # of one that contradicts the known energy nothing is taken
        structures[1].calc.results |= {"energy": 1.0, "free_energy": 1.0}
    write(tmp_path / "full.xyz", structures, format="extxyz")
    for names in (["md.xyz", "full.xyz"], ["full.xyz", "md.xyz"]):
        with LabelCache(tmp_path / f"{names[0]}.db") as cache:
            for name in names:
                report = import_labels(tmp_path / name, LEVEL, cache)
            found = [cache.get(atoms, LEVEL) for atoms in structures]
        first_had_none = names[0] == "md.xyz"
        assert report.replaced == first_had_none * (1 if wrong_energy else 2)
        assert len(report.refused) == wrong_energy
        assert found[0] is not None
        assert found[0].stress_eV_per_A3 is not None
        assert found[1] is not None
        lacks = found[1].stress_eV_per_A3 is None
        assert lacks == (wrong_energy and first_had_none)


def test_a_file_without_labels_is_an_error(tmp_path: Path):
    write(tmp_path / "bare.xyz", bulk("Cu"), format="extxyz")
    with (
        LabelCache(tmp_path / "cache.db") as cache,
        pytest.raises(LabelError, match="none of 1 structures has"),
    ):
        import_labels(tmp_path / "bare.xyz", LEVEL, cache)


def sheared_copper(count: int) -> list[Atoms]:
    """Small strains of one cell, all six components of the stress different."""
    rng = np.random.default_rng(1)
    structures = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        strain = 0.02 * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.rattle(0.03, rng=rng)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        structures.append(atoms)
    return structures


CONVENTIONS = {
    "eV/A^3": lambda stress: stress,
    "kbar, compression positive, VASP's order": lambda stress: (
        -10 * EV_PER_A3_IN_GPA * stress[[0, 1, 2, 5, 3, 4]]
    ),
    "GPa": lambda stress: EV_PER_A3_IN_GPA * stress,
    "wrong sign": lambda stress: -stress,
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_convention_of_a_stress_is_told_by_the_energies_and_converted(
    tmp_path: Path, convention: str
):
    structures = sheared_copper(25)
    cluster = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.3]], calculator=EMT())
    lines = []
    for atoms in structures:  # six numbers in a comment, as many tools write them
        stress = CONVENTIONS[convention](atoms.get_stress())
        cell = " ".join(map(repr, atoms.cell.array.ravel().tolist()))
        lines += [
            str(len(atoms)),
            f'Lattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T" '
            f"energy={float(atoms.get_potential_energy())!r} "
            f'stress="{" ".join(map(repr, stress.tolist()))}"',
        ]
        for symbol, position, force in zip(
            atoms.symbols, atoms.positions.tolist(), atoms.get_forces().tolist(), strict=True
        ):
            lines.append(f"{symbol} " + " ".join(map(repr, position + force)))
    lines += [  # without a cell, but with the key that every line of the file has
        "2",
        'Properties=species:S:1:pos:R:3:forces:R:3 pbc="F F F" stress="0 0 0 0 0 0" '
        f"energy={float(cluster.get_potential_energy())!r}",
        *(
            f"Cu 0 0 {z} 0 0 {force}"
            for z, force in zip((0, 2.3), cluster.get_forces()[:, 2].tolist(), strict=True)
        ),
    ]
    path = tmp_path / "labels.xyz"
    path.write_text("\n".join(lines) + "\n")
    wide = SanityLimits(max_stress_eV_per_A3=1e6)
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(path, LEVEL, cache, wide)
        stored = list(cache.labelled_structures(LEVEL))
    assert report.stored == len(structures) + 1
    messages = io.StringIO()
    # `entrove train` and `entrove validate` read the same labels in a file as an import does.
    for *crystals, molecule in (stored, read_labelled([path], Console(file=messages))):
        for atoms, label in zip(structures, crystals, strict=True):
            np.testing.assert_allclose(label.get_stress(), atoms.get_stress(), atol=1e-9)
        assert "stress" not in molecule.calc.results
        assert molecule.get_potential_energy() == pytest.approx(cluster.get_potential_energy())
    said = " ".join(report.conventions)
    assert ("converted" in messages.getvalue()) == ("converted" in said)
    assert ("converted" in said) == (convention != "eV/A^3")
    assert "energies of " in said


def test_energies_that_contradict_the_forces_are_refused(tmp_path: Path):
    for name, change in {
        "per atom": lambda results: results | {"energy": results["energy"] / 4},
        "gradients": lambda results: results | {"forces": -results["forces"]},
    }.items():
        structures = labelled_copper(8)
        for atoms in structures:
            atoms.calc = SinglePointCalculator(
                atoms,
                **change({key: atoms.calc.results[key] for key in ("energy", "forces", "stress")}),
            )
        write(tmp_path / "labels.xyz", structures, format="extxyz")
        factor = {"per atom": "0.2", "gradients": "-"}[name]
        with pytest.raises(LabelError, match=f"energies change by {factor}.* times the work"):
            judge_conventions(tmp_path / "labels.xyz")


def test_a_contradiction_is_shown_and_only_an_import_is_replaced(tmp_path: Path):
    (atoms,) = labelled_copper(1)
    write(tmp_path / "wrong.xyz", atoms, format="extxyz")
    atoms.calc.results["stress"] = atoms.calc.results["stress"] + 0.5
    write(tmp_path / "right.xyz", atoms, format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        first = import_labels(tmp_path / "wrong.xyz", LEVEL, cache)
        with pytest.raises(
            LabelError, match=r"a stress by 0.5 eV/A\^3.*entrove labels FOLDER --withdraw 1"
        ):
            import_labels(tmp_path / "right.xyz", LEVEL, cache)
        report = import_labels(tmp_path / "right.xyz", LEVEL, cache, replacing=True)
        assert (report.stored, report.replaced, report.known) == (0, 1, 0)
        (stored,) = cache.labelled_structures(LEVEL)
        np.testing.assert_allclose(stored.get_stress(), atoms.get_stress(), atol=1e-7)
        # The first import has nothing left; the second one takes the label with it.
        assert [(record.id, record.labels) for record in cache.imports()] == [
            (first.import_id, 0),
            (report.import_id, 1),
        ]
        cache.withdraw_import(report.import_id)
        # A label that was computed is never replaced.
        atoms.info[LEVEL_OF_THEORY] = LEVEL.hash
        computed = Label.from_atoms(atoms)
        cache.put(atoms, computed, LEVEL)
        with pytest.raises(LabelError, match="which was computed and is kept"):
            import_labels(tmp_path / "wrong.xyz", LEVEL, cache, replacing=True)


@pytest.mark.parametrize("replacing", [False, True])
def test_one_structure_twice_in_a_file_with_two_energies_is_not_known_before(
    tmp_path: Path, replacing: bool
):
    first, second = labelled_copper(1)[0], labelled_copper(1)[0]
    second.calc.results["energy"] += 5.75
    second.calc.results["free_energy"] += 5.75
    third = labelled_copper(1)[0][::-1]  # the same, and agrees
    third.calc = EMT()
    third.get_stress()
    third.get_forces()
    write(tmp_path / "labels.xyz", [first, second, third], format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "labels.xyz", LEVEL, cache, replacing=replacing)
    assert (report.stored, report.known) == (1, 1)
    (refused,) = report.refused
    assert refused.index == 1
    assert "energy by +5.75 eV" in refused.cause
    assert "leave one out" in refused.cause


def test_frames_that_cannot_have_a_label_are_refused_and_the_rest_is_taken(tmp_path: Path):
    good, unconverged, close, dummy, pulled = labelled_copper(5)
    unconverged.info["converged"] = False
    close.positions[1] = close.positions[0]
    pulled.calc.results["forces"][0, 0] += 1.0
    dummy.symbols[0] = "X"
    write(tmp_path / "mixed.xyz", [good, unconverged, close, dummy, pulled], format="extxyz")
    with (tmp_path / "mixed.xyz").open("a") as handle:
        handle.write("4\nenergy=none\n")  # and a frame that was cut off
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "mixed.xyz", LEVEL, cache)
    assert report.stored == 1
    said = {refused.index: refused.cause for refused in report.refused}
    assert list(said) == [1, 2, 3, 4, 5]
    assert "says of itself that it did not converge" in said[1]
    assert "atoms 0 and 1 are 0 A apart" in said[2]
    assert "no chemical element" in said[3]
    assert "the forces do not sum to zero" in said[4]


def test_labels_of_other_names_are_taken_where_they_are_named(tmp_path: Path):
    (atoms,) = labelled_copper(1)
    plain = atoms.copy()
    plain.info["second_energy"] = atoms.get_potential_energy()
    plain.arrays["second_forces"] = atoms.get_forces()
    plain.info["REF_virial"] = -atoms.get_volume() * atoms.get_stress(voigt=False)
    write(tmp_path / "named.xyz", plain, format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        with pytest.raises(LabelError, match=r"it has no energy.*second_energy"):
            import_labels(tmp_path / "named.xyz", LEVEL, cache)
        keys = LabelKeys(energy="second_energy", forces="second_forces")
        report = import_labels(tmp_path / "named.xyz", LEVEL, cache, keys=keys)
        label = cache.get(atoms, LEVEL)
        assert label is not None
        stored = label.attach(atoms)
    assert "stress from virial in eV (in 1 frame)" in report.conventions
    np.testing.assert_allclose(stored.get_stress(), atoms.get_stress(), atol=1e-7)
    np.testing.assert_allclose(stored.get_forces(), atoms.get_forces(), atol=1e-7)


def test_the_energy_that_is_named_is_the_label_whatever_free_energy_a_model_left(tmp_path: Path):
    (atoms,) = labelled_copper(1)
    assert "free_energy" in atoms.calc.results
    atoms.info["REF_energy"] = -100.0
    write(tmp_path / "model.xyz", atoms, format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        keys = LabelKeys(energy="REF_energy")
        import_labels(tmp_path / "model.xyz", LEVEL, cache, keys=keys)
        label = cache.get(atoms, LEVEL)
    assert label is not None
    assert label.energy_eV == -100.0


def test_an_import_says_how_many_outputs_do_not_say_whether_they_converged(tmp_path: Path):
    text = OUTCAR.read_text()
    silent = re.sub(r"aborting loop.*", "", text)
    for number, content in enumerate((text, silent, silent)):
        (tmp_path / f"OUTCAR{number}").write_text(content)
    with LabelCache(tmp_path / "cache.db") as cache:
        said = import_labels(tmp_path, LEVEL, cache).conventions
    unknown = [line for line in said if "whether the electronic steps converged" in line]
    assert len(unknown) == 1
    assert "(in 2 frames)" in unknown[0]


def test_an_imported_label_takes_the_place_of_a_failure(tmp_path: Path):
    (atoms,) = labelled_copper(1)
    write(tmp_path / "by_hand.xyz", atoms, format="extxyz")
    failure = Label(content_hash(atoms), LEVEL.hash, Outcome.NOT_CONVERGED, "100 steps")
    with LabelCache(tmp_path / "cache.db") as cache:
        cache.put(atoms, failure, LEVEL)
        assert import_labels(tmp_path / "by_hand.xyz", LEVEL, cache).stored == 1
        label = cache.get(atoms, LEVEL)
        assert label is not None
        assert label.converged
        assert import_labels(tmp_path / "by_hand.xyz", LEVEL, cache).known == 1


def test_a_turned_copy_is_known_when_its_label_is_the_same_and_refused_otherwise(tmp_path: Path):
    (atoms,) = labelled_copper(1)
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    turned.calc = EMT()
    turned.get_stress()
    other = turned.copy()
    other.calc = SinglePointCalculator(other, **turned.calc.results)
    other.calc.results["forces"] = atoms.get_forces()  # the forces were not turned with the cell
    write(tmp_path / "labels.xyz", [atoms, turned, other], format="extxyz")
    with LabelCache(tmp_path / "cache.db") as cache:
        report = import_labels(tmp_path / "labels.xyz", LEVEL, cache)
        assert len(list(cache.labelled_structures(LEVEL))) == 1
    assert (report.stored, report.known) == (1, 1)
    assert any("in another orientation" in line for line in report.conventions)
    (refused,) = report.refused
    assert refused.index == 2
    assert "a force by" in refused.cause


def test_what_energies_are_measured_from_is_said(tmp_path: Path):
    structures = labelled_copper(3)
    write(tmp_path / "labels.xyz", structures, format="extxyz")
    (said, *_) = judge_conventions(tmp_path / "labels.xyz").described
    assert "formation energies" in said  # those of EMT: fcc copper is at zero
    for atoms in structures:
        atoms.calc.results |= {"energy": -4000.0, "free_energy": -4000.04}
    write(tmp_path / "labels.xyz", structures, format="extxyz")
    said = " ".join(judge_conventions(tmp_path / "labels.xyz").described)
    assert "energies are total energies" in said
    assert "by up to 10 meV/atom" in said
    assert "the free energies are taken" in said
    for atoms in read_labelled([tmp_path / "labels.xyz"], Console(file=io.StringIO())):
        assert atoms.get_potential_energy() == -4000.04


@pytest.mark.parametrize("free_eV", [-4000.04, -4000.0])
def test_a_file_with_two_kinds_of_energies_is_doubted(tmp_path: Path, free_eV: float):
    """Frames of two codes or versions: some have the free energy beside the energy, some not."""
    structures = labelled_copper(5)
    for index, atoms in enumerate(structures):
        atoms.calc.results |= {"energy": -4000.0, "free_energy": free_eV}
        if index < 2:
            del atoms.calc.results["free_energy"]
    write(tmp_path / "labels.xyz", structures, format="extxyz")
    said = " ".join(judge_conventions(tmp_path / "labels.xyz").remarks)
    doubt = "2 frames have no free energy: their energies are taken as they are"
    assert (doubt in said) == (free_eV != -4000.0)
    heard = io.StringIO()
    read_labelled([tmp_path / "labels.xyz"], Console(file=heard, width=10_000))
    assert (doubt in heard.getvalue()) == (free_eV != -4000.0)
    findings = audit([str(tmp_path / "labels.xyz")]).findings
    evidence = " ".join(finding.evidence for finding in findings)
    assert ("2 frames have no free energy" in evidence) == (free_eV != -4000.0)
