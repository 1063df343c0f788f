"""Laws of the batched CHGNet model, against its own ASE calculator and by differences."""

import numpy as np
import pytest
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols
from trial_structures import rattled

from entrove.errors import ModelError, StructureError
from entrove.models.chgnet import model as chgnet_module
from entrove.models.chgnet.files import VERSIONS
from entrove.models.chgnet.loading import UNSEEN_BY_R2SCAN
from entrove.models.chgnet.model import CHGNetModel, find_bonds
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.models.verify import verified
from entrove.training.config import TrainingConfig
from entrove.training.tuning import fine_tune


@pytest.fixture(scope="module")
def chgnet() -> LoadedModel:
    return load("chgnet", device="cpu")


@pytest.fixture(scope="module")
def in_float64() -> CHGNetModel:
    """The same weights, every operation in double precision: differences can be trusted to many
    digits."""
    return CHGNetModel(load("chgnet", device="cpu").model.network.double(), torch.device("cpu"))


@pytest.fixture
def crystals() -> list[Atoms]:
    """Images matter (2 atoms), unlike sizes, two species, compressed, and a gas without any
    angle."""
    structures = [
        bulk("Si", "diamond", a=5.43),
        bulk("Cu", "fcc", a=3.6, cubic=True),
        bulk("C", "diamond", a=3.57 * 0.9, cubic=True),
        bulk("NaCl", "rocksalt", a=5.6, cubic=True),
        bulk("Ar", "fcc", a=5.8, cubic=True),
    ]
    return [rattled(atoms, seed) for seed, atoms in enumerate(structures)]


def state_of(*structures: Atoms):
    return torch_sim.initialize_state(list(structures), torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("name", VERSIONS)
def test_batches_pass_verification_against_its_own_calculator(name, crystals):
    model = load(name, device="cpu")
    trusted, report = verified(model, crystals)
    assert trusted is model
    assert model.batched
    assert report.uncounted == ()
    # float32 throughout, in two orders of summation, on forces of up to 20 eV/A: 4e-5 was seen.
    assert max(c.forces_difference_eV_per_A for c in report.comparisons) < 2e-4
    assert np.abs(predict(model, crystals)[0].get_forces()).max() > 1e-2


@pytest.mark.parametrize("name", VERSIONS)
def test_what_else_is_in_the_batch_does_not_matter(name, crystals):
    # CHGNet skips the bond layers of a graph without angles; the 0.2.0 weights have a bias in
    # them.
    model = load(name, device="cpu").model
    dense, _, _, _, gas = crystals
    together = model(state_of(gas, dense, gas))
    alone = model(state_of(gas))
    # Sums of a few float32 energies of 0.1 eV: identical up to the order of two additions.
    assert float(together["energy"][0]) == pytest.approx(float(alone["energy"][0]), abs=1e-7)
    assert float(together["energy"][2]) == pytest.approx(float(alone["energy"][0]), abs=1e-7)


def test_a_batch_in_pieces_equals_the_whole(monkeypatch, in_float64, crystals):
    whole = in_float64(state_of(*crystals))
    monkeypatch.setattr(chgnet_module, "PIECE_PAIRS", 200)
    cut = in_float64(state_of(*crystals))
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("index", range(5))
def test_forces_are_minus_the_gradient(in_float64, crystals, index):
    atoms = crystals[index]
    direction = np.random.default_rng(index).normal(size=atoms.positions.shape)
    # float64: truncation falls as h^2 and is 1e-8 of the slope here; round-off is 1e-14 / h =
    # 1e-10.
    h = 1e-4
    ends = []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.positions += sign * h * direction
        ends.append(float(in_float64(state_of(moved))["energy"][0]))
    forces = in_float64(state_of(atoms))["forces"].numpy()
    slope = (ends[0] - ends[1]) / (2 * h)
    assert -np.sum(forces * direction) == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("index", range(4))
def test_stress_is_the_strain_derivative_per_volume(in_float64, crystals, index):
    atoms = crystals[index]
    strain = np.random.default_rng(index).normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    # float64: the error was seen to fall as h^2, to 3e-9 eV at 1e-6; round-off is 1e-14 / h =
    # 1e-8.
    h = 1e-6
    ends = []
    for sign in (1.0, -1.0):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * h * strain), scale_atoms=True)
        ends.append(float(in_float64(state_of(strained))["energy"][0]))
    stress = in_float64(state_of(atoms))["stress"][0].numpy()
    slope = (ends[0] - ends[1]) / (2 * h)
    assert np.sum(stress * strain) * atoms.get_volume() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_the_stress_of_its_own_calculator_has_ases_sign_and_unit(chgnet):
    """CHGNet's network gives GPa; what its calculator makes of them is dE/d(strain)/V in
    eV/A^3."""
    atoms = rattled(bulk("NaCl", "rocksalt", a=5.2, cubic=True), 1)
    atoms.calc = chgnet.calculator()
    stress = atoms.get_stress(voigt=False)
    h = 3e-3
    energies = []
    for sign in (1.0, -1.0):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1 + sign * h), scale_atoms=True)
        strained.calc = atoms.calc
        energies.append(strained.get_potential_energy())
    # float32 energies of 30 eV: round-off 2e-6 / h; truncation of the order of h^2. Both below 1
    # %.
    slope = (energies[0] - energies[1]) / (2 * h) / atoms.get_volume()
    assert slope < -0.01  # compressed, by ASE's sign
    assert np.trace(stress) == pytest.approx(slope, rel=0.01)


def test_a_left_handed_cell_has_the_same_stress(chgnet):
    atoms = rattled(bulk("NaCl", "rocksalt", a=5.2, cubic=True), 2)
    left_handed = atoms.copy()
    left_handed.set_cell(atoms.cell.array[[1, 0, 2]])
    right, left = predict(chgnet, [atoms, left_handed])
    # float32 sums of some 1000 pairs in two orders.
    np.testing.assert_allclose(left.get_stress(), right.get_stress(), atol=1e-6)
    # The reason not to take CHGNet's own: it divides by the signed volume.
    left_handed.calc = chgnet.calculator()
    np.testing.assert_allclose(left_handed.get_stress(), -right.get_stress(), atol=1e-5)


def test_energy_is_extensive_and_invariant(in_float64):
    atoms = rattled(bulk("NaCl", "rocksalt", a=5.6), 3)
    energy = float(in_float64(state_of(atoms))["energy"][0])
    rotated, shifted = atoms.copy(), atoms.copy()
    rotated.rotate(37.0, (1.0, 2.0, 3.0), rotate_cell=True)
    shifted.positions += [0.3, -7.0, 11.0]
    permuted = atoms[[1, 0]]
    for changed in (rotated, shifted, permuted):
        # Everything is float64; 1e-12 of 7 eV, times the length of the sums.
        assert float(in_float64(state_of(changed))["energy"][0]) == pytest.approx(energy, abs=1e-9)
    repeated = in_float64(state_of(atoms.repeat((2, 1, 2))))
    assert float(repeated["energy"][0]) == pytest.approx(4 * energy, abs=1e-9)


def test_bonds_and_angles_are_those_of_its_own_converter(chgnet, crystals):
    from pymatgen.io.ase import AseAtomsAdaptor

    convert = load("chgnet", device="cpu").calculator().model.graph_converter
    for atoms in crystals:
        theirs = convert(AseAtomsAdaptor.get_structure(atoms))
        ours = find_bonds(chgnet.model.search(state_of(atoms)), chgnet.model.angle_cutoff_A)
        assert len(ours.centre) == len(theirs.atom_graph)
        assert len(ours.first_pair) == len(theirs.undirected2directed)
        assert ours.of_pair.bincount().tolist() == [2] * len(ours.first_pair)
        angles = ours.angles[:, 0].bincount(minlength=len(atoms))
        expected = np.bincount(theirs.bond_graph.reshape(-1, 5)[:, 0], minlength=len(atoms))
        np.testing.assert_array_equal(angles, expected)


def test_an_atom_without_neighbours_feels_nothing(chgnet):
    alone = Atoms("Ar", cell=[20.0, 20.0, 20.0], pbc=True)
    results = chgnet.model(state_of(alone, bulk("Si", "diamond", a=5.43)))
    assert torch.isfinite(results["energy"]).all()
    np.testing.assert_array_equal(results["forces"][0], 0.0)
    np.testing.assert_array_equal(results["stress"][0], 0.0)


def test_a_position_that_is_not_a_number_spoils_its_own_system_only(chgnet):
    sound = rattled(bulk("Si", "diamond", a=5.43), 4)
    broken = sound.copy()
    broken.positions[0, 0] = np.nan
    results = chgnet.model(state_of(broken, sound))
    assert torch.isnan(results["energy"]).tolist() == [True, False]
    assert torch.isnan(results["forces"][:2]).all()
    assert torch.isfinite(results["forces"][2:]).all()


def test_a_molecule_needs_a_box(chgnet):
    with pytest.raises(
        StructureError, match="needs a cell with a volume; put a molecule into a box"
    ):
        predict(chgnet, [molecule("H2O")])
    _, report = verified(chgnet, [rattled(molecule("H2O", vacuum=4.0), 0)])
    assert report.passed


def test_elements_that_it_never_saw_are_refused(chgnet):
    with pytest.raises(ModelError, match="chgnet does not know Po"):
        predict(chgnet, [bulk("Po", "sc", a=3.35)])
    # Fine-tuning for r2SCAN moved the embedding of every element that any structure held, and its
    # reference energies were fitted by least squares, which leaves those of the others at zero.
    tuned = load("chgnet-r2scan", device="cpu")
    ours, theirs = (
        model.model.network.atom_embedding.embedding.weight for model in (chgnet, tuned)
    )
    for unseen in (
        (ours == theirs).all(dim=1),
        tuned.model.reference_energies_eV.abs() < 1e-9,
    ):
        symbols = [chemical_symbols[index + 1] for index in unseen.nonzero().reshape(-1).tolist()]
        assert set(symbols) == UNSEEN_BY_R2SCAN
    assert tuned.species == set(chemical_symbols[1:95]) - UNSEEN_BY_R2SCAN
    assert chgnet.species == tuned.species | {"Yb"}


def test_it_is_quiet_and_leaves_the_default_dtype_alone(chgnet, capsys):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        atoms = rattled(bulk("Si", "diamond", a=5.43), 5)
        atoms.calc = load("chgnet", device="cpu").calculator()
        expected = atoms.get_forces()
        assert torch.get_default_dtype() == torch.float64
        forces = predict(chgnet, [atoms])[0].get_forces()
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_allclose(forces, expected, atol=2e-4)
    assert capsys.readouterr().out == ""


def test_it_keeps_no_fidelities_and_no_features(chgnet):
    with pytest.raises(ModelError, match=r"chgnet has a single fidelity.*leave out '@PBE'"):
        load("chgnet@PBE")
    with pytest.raises(ModelError, match="chgnet: this model gives no access"):
        chgnet.features()


def test_it_cannot_be_tuned(chgnet, tmp_path):
    labels = predict(chgnet, [rattled(bulk("Si", "diamond", a=5.43), 6)])
    with pytest.raises(
        ModelError,
        match=r"chgnet cannot be tuned: Entrove does not drive CHGNet's own training; "
        r"only SevenNet models, and NequIP or Allegro packages and checkpoints can",
    ):
        fine_tune(labels, "chgnet", tmp_path / "run", TrainingConfig())
    assert not (tmp_path / "run").exists()
