"""Every kind of planted mistake is named, with its frame; clean sets are silent."""

import json
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from copper_sets import alarms, audited, copper, crystal_and_snapshots, labelled, saved

from entrove.curation import audit
from entrove.curation.auditing.coverage import describe_coverage
from entrove.curation.auditing.findings import Severity
from entrove.curation.auditing.predictions.sample import Sample, _turns
from entrove.curation.auditing.spool import Spool
from entrove.errors import StructureError
from entrove.formats.conventions import LAMMPS_ORDER, VASP_ORDER, StressConvention
from entrove.models.ase import from_calculator

FRAMES = copper()
EMPTY = (np.zeros(0, int), np.zeros(0, int))
ONE = 17


def all_as(change):
    return [change(atoms) for atoms in FRAMES]


def one_as(change, place=ONE):
    return [change(a) if k == place else a for k, a in enumerate(FRAMES)]


def stress_as(*convention):
    stress = np.array([atoms.get_stress() for atoms in FRAMES])
    volumes = np.array([atoms.get_volume() for atoms in FRAMES])
    given = StressConvention(*convention).from_ase(stress, volumes)
    return [labelled(atoms, stress=row) for atoms, row in zip(FRAMES, given, strict=True)]


def energy(atoms, factor=1.0, shift=0.0):
    return labelled(atoms, energy=factor * atoms.get_potential_energy() + shift * len(atoms))


def test_a_set_without_labels_is_not_called_clean(tmp_path):
    bare = [atoms.copy() for atoms in FRAMES[:20]]
    report = audited(tmp_path, bare)
    assert alarms(report)["no_labels"].severity is Severity.WARNING
    assert report.exit_status == 3
    assert "Nothing wrong" not in report.verdict
    assert audited(tmp_path, bare[:1]).verdict.endswith(" in 1 frame.")
    assert "fitted" not in report.predictor


@pytest.mark.parametrize(("quantity", "name"), [("energy", "energy_Ha"), ("forces", "forces_Ha")])
def test_labels_under_a_name_that_is_not_taken_are_warned_of(tmp_path, quantity: str, name: str):
    frames = []
    for atoms in FRAMES[:20]:
        results = dict(atoms.calc.results)
        value = results.pop(quantity)
        other = SinglePointCalculator(atoms, **results)
        atoms = atoms.copy()  # noqa: PLW2901
        atoms.calc = other
        (atoms.info if quantity == "energy" else atoms.arrays)[name] = value
        frames.append(atoms)
    report = audited(tmp_path, frames)
    found = alarms(report)["label_name"]
    assert (found.count, found.severity) == (20, Severity.WARNING)
    assert name in found.evidence
    assert report.exit_status == 3


def test_a_file_without_frames_says_so(tmp_path):
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(StructureError, match=r"empty\.xyz: no structures; give files"):
        audit(tmp_path / "empty.xyz")


def test_a_clean_set_is_silent(tmp_path):
    report = audited(tmp_path, FRAMES)
    assert alarms(report) == {}
    assert report.exit_status == 0
    assert report.frames == len(FRAMES)
    assert report.left_out == 0
    assert report.coverage.compositions == {"Cu": len(FRAMES)}
    assert report.coverage.labels == dict.fromkeys(("energy", "forces", "stress"), len(FRAMES))
    (part,) = report.conventions
    assert part.energy.name == "total"
    assert part.stress == StressConvention()


WHOLE_SETS = {
    "energies per atom": (
        lambda: all_as(lambda a: energy(a, 1 / len(a))),
        {"energy_per_atom"},
    ),
    "energies in hartree": (lambda: all_as(lambda a: energy(a, 1 / 27.211386)), {"energy_unit"}),
    "gradients": (
        lambda: all_as(lambda a: labelled(a, forces=-a.get_forces())),
        {"force_sign"},
    ),
    "forces in hartree/bohr": (
        lambda: all_as(lambda a: labelled(a, forces=a.get_forces() / 51.422067)),
        {"force_unit"},
    ),
    "GPa": (lambda: stress_as("GPa"), {"stress_unit"}),
    "kbar": (lambda: stress_as("kbar"), {"stress_unit"}),
    "virial": (lambda: stress_as("eV"), {"virial_as_stress"}),
    "sign": (lambda: stress_as("eV/A^3", -1), {"stress_sign"}),
    "VASP's order": (lambda: stress_as("eV/A^3", 1, VASP_ORDER), {"stress_order"}),
    "LAMMPS' order": (lambda: stress_as("eV/A^3", 1, LAMMPS_ORDER), {"stress_order"}),
    "kbar, sign and order of VASP": (
        lambda: stress_as("kbar", -1, VASP_ORDER),
        {"stress_unit", "stress_sign", "stress_order"},
    ),
    "two levels of theory": (
        lambda: [energy(a, 1, 0.2 * (k % 3 == 0)) for k, a in enumerate(FRAMES)],
        {"mixed_levels"},
    ),
}


@pytest.mark.parametrize("mistake", WHOLE_SETS)
def test_a_mistake_of_a_whole_set_is_named_and_nothing_else_is(mistake, tmp_path):
    plant, kinds = WHOLE_SETS[mistake]
    report = audited(tmp_path, plant())
    assert set(alarms(report)) == kinds
    assert report.exit_status == 4
    for finding in alarms(report).values():
        assert finding.evidence
        assert finding.remedy
        assert finding.files == (str(tmp_path / "set.xyz"),)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cell_that_is_unlike_all_others_is_no_outlier(seed, tmp_path):
    """The labels are exact: what a fit to snapshots leaves of a strained cell is extrapolation."""
    frames = crystal_and_snapshots(seed)
    report = audited(tmp_path, frames)
    assert alarms(report) == {}
    (unchecked,) = (each for each in report.findings if each.kind == "unchecked_labels")
    assert {1, 3} <= {frame.index for frame in unchecked.frames} <= {1, 2, 3, 4, 5}
    # Of a frame that is like the others a far smaller error is told, however few there are.
    frames[8] = energy(frames[8], 1, 0.03)
    found = alarms(audited(tmp_path, frames))
    assert {frame.index for frame in found["energy_outlier"].frames} == {8}
    # Of one that is unlike them, an error beyond all differences of the set.
    frames = crystal_and_snapshots(seed)
    frames[3] = energy(frames[3], 1, 0.5)
    found = alarms(audited(tmp_path, frames))
    assert 3 in {frame.index for frame in found["energy_outlier"].frames}


def test_one_frame_of_another_kind_is_no_evidence_of_a_convention(tmp_path):
    """A relaxed crystal has a small stress, of which a potential from few frames knows nothing."""
    frames = [bulk("Cu", cubic=True, a=3.58), *(bulk("Cu", cubic=True) for _ in range(7))]
    for number, atoms in enumerate(frames[1:]):
        atoms.rattle(0.1, seed=number)
    frames = [labelled(atoms) for atoms in frames]
    for number, atoms in enumerate(frames):
        atoms.info["config_type"] = "md" if number else "relaxed"
    assert alarms(audited(tmp_path, frames)) == {}


def test_a_mistake_of_a_part_is_named_with_the_part(tmp_path):
    frames = stress_as("eV/A^3", 1, VASP_ORDER)[:24] + [labelled(a) for a in FRAMES[24:]]
    for number, atoms in enumerate(frames):
        atoms.info["config_type"] = "first" if number < 24 else "second"
    found = alarms(audited(tmp_path, frames))
    assert set(found) == {"stress_order"}
    assert "[first]" in found["stress_order"].evidence
    assert "[second]" not in found["stress_order"].evidence
    assert "in a part of the frames" in found["stress_order"].title
    assert found["stress_order"].count == 24


def with_positions(atoms, change):
    copy = labelled(atoms)
    change(copy)
    return copy


def overlap(atoms):
    atoms.positions[1] = atoms.positions[0] + [0.0, 0.2, 0.0]


def coincide(atoms):
    atoms.positions[1] = atoms.positions[0]


def flatten(atoms):
    atoms.cell[2] = atoms.cell[0] - atoms.cell[1]


def turn_over(atoms):
    atoms.set_cell(atoms.cell.array[[0, 2, 1]])


def empty_cell(atoms):
    atoms.set_cell(np.zeros((3, 3)))
    atoms.pbc = True


SINGLE_FRAMES = {
    "energy_outlier": lambda a: energy(a, 1, 0.3),
    "force_outlier": lambda a: labelled(a, forces=-a.get_forces()),
    "stress_outlier": lambda a: labelled(a, stress=np.array([0.2, -0.2, 0.2, 0.0, 0.1, 0.0])),
    "zero_energy": lambda a: labelled(a, energy=0.0),
    "net_force": lambda a: labelled(a, forces=a.get_forces() + np.array([0.0, 0.1, 0.0])),
    "not_finite": lambda a: labelled(a, energy=np.nan),
    "overlapping_atoms": lambda a: with_positions(a, overlap),
    "flat_cell": lambda a: with_positions(a, flatten),
    "zero_cell": lambda a: with_positions(a, empty_cell),
    "left_handed_cell": lambda a: with_positions(a, turn_over),
}


@pytest.mark.parametrize("kind", SINGLE_FRAMES)
def test_a_single_wrong_frame_is_named(kind, tmp_path):
    found = alarms(audited(tmp_path, one_as(SINGLE_FRAMES[kind])))
    assert set(found) == {kind}
    assert [frame.index for frame in found[kind].frames] == [ONE]
    assert found[kind].count == 1


def test_coincident_atoms_take_nothing_else_with_them(tmp_path):
    report = audited(tmp_path, one_as(lambda a: with_positions(a, coincide)))
    assert set(alarms(report)) == {"overlapping_atoms"}
    assert alarms(report)["overlapping_atoms"].count == 1


def test_broken_text_is_named_and_the_rest_is_read(tmp_path):
    path = saved(tmp_path / "set.xyz", FRAMES)
    text = path.read_text()
    cut = text.rstrip().rfind("\n")
    path.write_text(text[:cut].replace("\nCu", "\nX", 1))
    found = alarms(audit(path))
    assert set(found) == {"unknown_element", "unreadable"}
    assert [frame.index for frame in found["unknown_element"].frames] == [0]
    assert [frame.index for frame in found["unreadable"].frames] == [len(FRAMES) - 1]


def turned(atoms, seed=3):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(atoms))
    moved = atoms[order]
    moved.set_cell(atoms.cell.array @ rotation.T)
    moved.positions = atoms.positions[order] @ rotation.T + rng.normal(size=3)
    moved.calc = None
    return labelled(moved)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("duplicates", labelled),
        ("equivalent", turned),
        ("equivalent", lambda a: labelled(a.repeat((1, 2, 1)))),
    ],
    ids=["as it is", "turned, moved and reordered", "as a supercell"],
)
def test_a_repeated_geometry_is_found(kind, change, tmp_path):
    report = audited(tmp_path, [*FRAMES, change(FRAMES[ONE])])
    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    assert [frame.index for frame in finding.frames] == [len(FRAMES)]
    assert f"frame {ONE}" in finding.evidence
    assert "contradicting_labels" not in alarms(report)


def test_repeated_frames_are_no_evidence_against_the_unit(tmp_path):
    """Rounded positions move atoms by less than energies are known to, whatever these say."""
    rng = np.random.default_rng(0)
    again = []
    for atoms in FRAMES[:6]:
        rounding = rng.normal(scale=1e-6, size=(len(atoms), 3))
        work = -float((atoms.get_forces() * rounding).sum())
        copy = labelled(atoms, energy=atoms.get_potential_energy() + 0.5 * work)
        copy.positions += rounding
        again.append(copy)
    report = audited(tmp_path, [*FRAMES, *again])
    assert set(alarms(report)) == {"duplicates"}
    (part,) = report.conventions
    assert part.energy.name == "total"


def test_one_geometry_with_two_labels_is_a_contradiction(tmp_path):
    report = audited(tmp_path, [*FRAMES, energy(turned(FRAMES[ONE]), 1, 0.01)])
    finding = alarms(report)["contradicting_labels"]
    assert [frame.index for frame in finding.frames] == [len(FRAMES)]
    assert "10.0 meV/atom apart" in finding.evidence


def test_leakage_is_found_between_sets_and_nowhere_else(tmp_path):
    training = saved(tmp_path / "train.xyz", FRAMES)
    test = saved(tmp_path / "test.xyz", [turned(FRAMES[ONE]), *copper(4, seed=9)])
    found = alarms(audit(training, against=test))
    assert set(found) == {"leakage"}
    assert [(f.file, f.index) for f in found["leakage"].frames] == [(str(test), 0)]
    other = saved(tmp_path / "other.xyz", copper(4, seed=9))
    assert alarms(audit(training, against=other)) == {}
    itself = alarms(audit(training, against=training))
    assert itself["leakage"].count == len(FRAMES)


def test_sources_take_turns_in_the_sample():
    sources = np.array([2, 0, 2, 1, 0, 2])
    assert _turns(sources).tolist() == [0, 0, 1, 0, 1, 2]


def test_a_name_for_each_frame_costs_no_more_than_one_name_for_all():
    """Comparing each name with all others took minutes for 100,000 frames."""
    with Spool() as spool:
        atoms = FRAMES[0]
        for number in range(20_000):
            spool.append(
                atoms,
                file="set.xyz",
                index=number,
                source=f"set.xyz [{number}]",
                formula="Cu",
                temperature_K=300.0,
                isolated=False,
                usable=True,
                against=False,
            )
        sample = Sample(*[np.zeros(0, int), [], [], np.zeros(0), np.zeros((0, 6))], *EMPTY)
        started = time.process_time()
        coverage = describe_coverage(spool, sample, None, spool.records["energy"], 0)
        assert time.process_time() - started < 2.0
    assert [coverage.source_names[place] for place in coverage.map_sources] == [
        f"set.xyz [{number}]" for number in coverage.map_frames
    ]


def test_single_atoms_are_references_and_no_mistake(tmp_path):
    atom = Atoms("Cu", cell=[12.0, 12.0, 12.0], pbc=True)
    atom = labelled(atom, energy=0.0, forces=np.zeros((1, 3)), stress=np.zeros(6))
    report = audited(tmp_path, [*FRAMES, atom])
    assert alarms(report) == {}
    assert "isolated_atoms" in {finding.kind for finding in report.findings}


def test_a_model_that_is_compared_with_names_the_same(tmp_path):
    model = from_calculator(EMT())
    assert alarms(audited(tmp_path, FRAMES, model=model)) == {}
    report = audited(tmp_path, stress_as("kbar", -1), model=model)
    assert set(alarms(report)) == {"stress_unit", "stress_sign"}
    report = audited(tmp_path, all_as(lambda a: energy(a, 1 / len(a))), model=model)
    assert set(alarms(report)) == {"energy_per_atom"}
    report = audited(tmp_path, one_as(lambda a: energy(a, 1, 0.05)), model=model)
    assert [frame.index for frame in alarms(report)["energy_outlier"].frames] == [ONE]


class OffForLargeCells(EMT):
    """A model that is wrong by a constant per atom for one kind of frames."""

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        shift = 0.02 * len(atoms) * (len(atoms) > 4)
        self.results |= {name: self.results[name] + shift for name in ("energy", "free_energy")}


def test_errors_of_a_model_that_differ_between_kinds_are_no_levels_of_theory(tmp_path):
    model = from_calculator(OffForLargeCells(), name="off")
    assert alarms(audited(tmp_path, FRAMES, model=model)) == {}
    per_atom = [
        labelled(atoms, energy=atoms.get_potential_energy() / len(atoms)) for atoms in FRAMES
    ]
    assert set(alarms(audited(tmp_path, per_atom, model=model))) == {"energy_per_atom"}


def test_the_same_files_give_the_same_report(tmp_path):
    first, second = (audited(tmp_path, FRAMES).to_dict() for _ in range(2))
    for report in (first, second):
        report.pop("seconds")
    assert json.dumps(first) == json.dumps(second)


def test_unlabelled_and_molecular_frames_are_described(tmp_path):
    molecules = [bulk("Cu", cubic=True) for _ in range(3)]
    for number, atoms in enumerate(molecules):
        atoms.pbc = False
        atoms.rattle(0.05, seed=number)
    report = audited(tmp_path, molecules)
    assert set(alarms(report)) == {"no_labels"}
    assert report.coverage.labels == {"energy": 0, "forces": 0, "stress": 0}


def test_heads_of_mace_are_parts_whose_levels_of_theory_are_compared(tmp_path):
    frames = []
    for number, atoms in enumerate(FRAMES):
        head = number // 2 % 2
        energy = atoms.get_potential_energy() + 0.4 * head * len(atoms)
        frames.append(labelled(atoms, energy=energy))
        frames[-1].info = {"head": ("pbe", "r2scan")[head], "config_type": "bulk"}
    report = audited(tmp_path, frames)
    assert {name.split(" [")[1] for name in report.coverage.sources} == {
        "pbe, bulk]",
        "r2scan, bulk]",
    }
    assert "mixed_levels" in alarms(report)
    assert "r2scan, bulk" in alarms(report)["mixed_levels"].evidence


def test_densities_are_those_of_the_crystals(tmp_path):
    """Rock salt has 2.17 g/cm^3 at 5.64 A, copper 8.93 g/cm^3 at 3.615 A."""
    salt, metal = bulk("NaCl", "rocksalt", a=5.64), bulk("Cu", a=3.615, cubic=True)
    path = tmp_path / "two.xyz"
    write(path, [salt, metal, metal * 2, molecule("H2O")])
    density = next(
        found for found in audit(path).coverage.histograms if found.quantity.startswith("density")
    )
    assert sum(density.counts) == 3  # a molecule has none
    # The outer edges are percentiles.
    assert density.edges[0] == pytest.approx(2.164, rel=1e-2)
    assert density.edges[-1] == pytest.approx(8.935, rel=1e-2)


def test_a_set_without_a_usable_frame_is_refused(tmp_path):
    path = tmp_path / "set.xyz"
    path.write_text("1\nenergy=nan Properties=species:S:1:pos:R:3\nCu 0 0 0\n")
    with pytest.raises(StructureError, match="none of 1 frames can be used"):
        audit(path)
    with pytest.raises(StructureError, match="no files were given"):
        audit([])
