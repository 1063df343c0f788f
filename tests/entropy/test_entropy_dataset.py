"""EntropyDataset: what is added, removed, merged and saved is what the gains see."""

import json
import logging

import numpy as np
import pytest
from ase import Atoms
from structures_of_test import salt, silicon

from entrove.entropy.config import EntropyConfig
from entrove.entropy.dataset import EntropyDataset
from entrove.errors import SelectionError, StructureError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.structures import as_written

KINDS = [
    (entropy, mode) for entropy in ("information", "paper") for mode in ("per_atom", "per_config")
]
REFERENCE = [silicon(seed) for seed in range(12)] + [salt(seed) for seed in range(12)]
ADDED = [silicon(seed, 0.2) for seed in range(20, 26)] + [
    salt(seed, 0.2) for seed in range(20, 24)
]
CANDIDATES = [silicon(40, 0.3), salt(41, 0.3), silicon(42, 0.0), silicon(43, 0.1, strain=-0.06)]


def calibrated(entropy, mode, **settings) -> EntropyDataset:
    dataset = EntropyDataset(entropy, mode, **settings)
    dataset.calibrate(REFERENCE)
    return dataset


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
def test_gain_is_the_change_of_the_entropy(entropy, mode):
    dataset = calibrated(entropy, mode)
    dataset.add(ADDED)
    gains = dataset.gain(CANDIDATES)
    for atoms, gain in zip(CANDIDATES, gains, strict=True):
        larger = dataset.copy()
        larger.add([atoms])
        # Entropies of order 300, gains of order 1.
        assert larger.entropy() - dataset.entropy() == pytest.approx(gain, rel=1e-8, abs=1e-9)
    assert len(dataset) == len(ADDED)


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
@pytest.mark.parametrize("species_blocks", [True, False])
def test_gain_is_the_change_of_the_entropy_from_the_first_structure_on(
    entropy, mode, species_blocks
):
    """Also for an empty dataset, and for species that are new to it."""
    dataset = calibrated(entropy, mode, species_blocks=species_blocks)
    for atoms in (silicon(20, 0.2), silicon(21, 0.2), salt(20, 0.2), salt(21, 0.2)):
        before, (gain,) = dataset.entropy(), dataset.gain([atoms])
        dataset.add([atoms])
        assert dataset.entropy() - before == pytest.approx(gain, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
def test_adding_then_removing_returns_the_old_state(entropy, mode):
    dataset = calibrated(entropy, mode)
    dataset.add(ADDED)
    before, entropy_before = dataset.gain(CANDIDATES), dataset.entropy()
    dataset.add(CANDIDATES)
    assert not np.allclose(dataset.gain(CANDIDATES), before, rtol=1e-3)
    dataset.remove(CANDIDATES)
    np.testing.assert_allclose(dataset.gain(CANDIDATES), before, rtol=1e-8, atol=1e-9)
    assert dataset.entropy() == pytest.approx(entropy_before, rel=1e-10)
    assert len(dataset) == len(ADDED)
    dataset.remove(ADDED)
    assert (len(dataset), dataset.entropy()) == (0, 0.0)


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
def test_merging_is_adding_everything(entropy, mode):
    whole, part, other = (calibrated(entropy, mode) for _ in range(3))
    whole.add(ADDED)
    part.add(ADDED[:3])
    other.add(ADDED[3:])
    part.merge(other)
    np.testing.assert_allclose(part.gain(CANDIDATES), whole.gain(CANDIDATES), rtol=1e-8, atol=1e-9)
    assert part.entropy() == pytest.approx(whole.entropy(), rel=1e-10)
    assert part.hashes == whole.hashes
    assert len(other) == len(ADDED) - 3


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
def test_order_and_batching_do_not_matter(entropy, mode):
    dataset, other = calibrated(entropy, mode), calibrated(entropy, mode, batch_atoms=1)
    dataset.add(ADDED)
    other.add(iter(ADDED[::-1]))
    shuffled = [atoms[np.random.default_rng(0).permutation(len(atoms))] for atoms in CANDIDATES]
    np.testing.assert_allclose(
        other.gain(shuffled), dataset.gain(CANDIDATES), rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
def test_saved_and_loaded_is_the_same_dataset(entropy, mode, tmp_path):
    dataset = calibrated(entropy, mode, ridge=0.1, epsilon=1e-4)
    dataset.add(ADDED)
    dataset.save(tmp_path / "dataset.npz")
    loaded = EntropyDataset.load(tmp_path / "dataset.npz")
    assert loaded.config == dataset.config
    assert loaded.hashes == dataset.hashes
    assert loaded.entropy() == dataset.entropy()
    np.testing.assert_array_equal(loaded.gain(CANDIDATES), dataset.gain(CANDIDATES))
    loaded.remove(ADDED)
    assert len(loaded) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.npz"]


def test_loading_rebuilds_the_fingerprints_that_were_used(tmp_path):
    features = GaussianOverlap(FingerprintConfig(cutoff_A=4.0, length=30, radii_A={"Si": 1.2}))
    dataset = EntropyDataset("paper", features=features)
    dataset.add([silicon(0)])
    dataset.save(tmp_path / "dataset.npz")
    assert EntropyDataset.load(tmp_path / "dataset.npz").features.describe() == features.describe()


def test_loading_refuses_other_features(tmp_path):
    EntropyDataset("paper").save(tmp_path / "dataset.npz")
    with pytest.raises(
        SelectionError, match=r"other features \(cutoff_A: stored 5.0, given 4.0\)"
    ):
        EntropyDataset.load(
            tmp_path / "dataset.npz", features=GaussianOverlap(FingerprintConfig(cutoff_A=4.0))
        )


def test_loading_refuses_another_schema(tmp_path):
    path = tmp_path / "dataset.npz"
    EntropyDataset("paper").save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays.pop("header"))) | {"schema": 99}
    np.savez(path, header=np.array(json.dumps(header)), **arrays)
    with pytest.raises(
        SelectionError, match="schema 99, but this version of Entrove reads schema 1"
    ):
        EntropyDataset.load(path)


@pytest.mark.parametrize("content", [b"", b"not an archive", "cut"])
def test_loading_refuses_a_damaged_file(content, tmp_path):
    path = tmp_path / "dataset.npz"
    EntropyDataset("paper").save(path)
    path.write_bytes(path.read_bytes()[:200] if content == "cut" else content)
    with pytest.raises(SelectionError, match="not an entropy dataset, or damaged"):
        EntropyDataset.load(path)


def test_loading_names_a_missing_file(tmp_path):
    with pytest.raises(SelectionError, match="no such file"):
        EntropyDataset.load(tmp_path / "nothing.npz")


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "dataset.npz"
    dataset = EntropyDataset("paper")
    dataset.save(path)
    old = path.read_bytes()

    def disk_full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", disk_full)
    dataset.add([silicon(0)])
    with pytest.raises(OSError, match="No space left"):
        dataset.save(path)
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["dataset.npz"]


def test_modes_never_share_statistics():
    """Per-atom and per-config datasets of the same structures hold different rows."""
    atoms, configurations = (
        calibrated("information", "per_atom"),
        calibrated("information", "per_config"),
    )
    for dataset in (atoms, configurations):
        dataset.add(ADDED)
    assert atoms.moments[14].count == 8 * 6
    assert configurations.moments[14].count == 6
    assert not atoms.whitening.agrees_with(configurations.whitening)
    with pytest.raises(SelectionError, match="different definitions cannot be merged"):
        atoms.merge(configurations)


def test_calibration_is_frozen_once_there_are_members():
    dataset = calibrated("information", "per_atom")
    dataset.add(ADDED[:1])
    with pytest.raises(
        SelectionError, match="its calibration is frozen; calibrate before the first add"
    ):
        dataset.calibrate(REFERENCE)


def test_calibration_is_frozen_once_it_starts_from_structures():
    """Their rows are whitened, although they are no members: they cannot be whitened again."""
    dataset = calibrated("information", "per_atom")
    dataset.start_from(ADDED)
    before = dataset.gain(CANDIDATES)
    with pytest.raises(SelectionError, match="its calibration is frozen"):
        dataset.calibrate(ADDED)
    assert (dataset.gain(CANDIDATES) == before).all()


@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_species_that_are_new_can_be_calibrated_later(mode):
    dataset, at_once = EntropyDataset("information", mode), calibrated("information", mode)
    dataset.calibrate(REFERENCE[:12])
    silicon_only = ADDED[:6]
    for grown in (dataset, at_once):
        grown.add(silicon_only)
    with pytest.raises(SelectionError, match=r"structure 1 \(Cl4Na4\): Na has no calibration"):
        dataset.gain([silicon(1), salt(0)])
    before = dataset.whitening
    dataset.calibrate(REFERENCE)
    assert dataset.whitening.agrees_with(before)
    assert dataset.whitening.species == (11, 14, 17)
    np.testing.assert_allclose(dataset.gain(CANDIDATES), at_once.gain(CANDIDATES), rtol=1e-8)


@pytest.mark.parametrize("bad", [[], [silicon(0), Atoms("Si", [[np.nan] * 3])]])
def test_a_calibration_that_fails_changes_nothing(bad):
    dataset = calibrated("information", "per_atom")
    before = dataset.gain(CANDIDATES)
    with pytest.raises(
        (SelectionError, StructureError), match=r"no structure to calibrate on|not finite"
    ):
        dataset.calibrate(bad)
    np.testing.assert_array_equal(dataset.gain(CANDIDATES), before)


def test_datasets_of_different_calibrations_do_not_merge():
    dataset, other = calibrated("information", "per_atom"), EntropyDataset("information")
    other.calibrate(ADDED)
    with pytest.raises(SelectionError, match="different calibrations cannot be merged"):
        dataset.merge(other)


def test_first_add_calibrates_with_a_warning(caplog):
    dataset = EntropyDataset("information")
    with caplog.at_level(logging.WARNING):
        dataset.add(REFERENCE)
    assert "No calibration for Na, Si, Cl" in caplog.text
    explicit = calibrated("information", "per_atom")
    explicit.add(REFERENCE)
    np.testing.assert_allclose(dataset.gain(CANDIDATES), explicit.gain(CANDIDATES), rtol=1e-12)


def test_a_new_species_is_calibrated_when_it_is_added(caplog):
    dataset = EntropyDataset("information")
    dataset.calibrate([silicon(seed) for seed in range(5)])
    with pytest.raises(SelectionError, match="Na has no calibration"):
        dataset.gain([salt(0)])
    with caplog.at_level(logging.WARNING):
        dataset.add([salt(0)])
    assert "No calibration for Na, Cl" in caplog.text
    assert dataset.gain([salt(1)])[0] > 0


def test_batching_does_not_decide_on_what_a_late_species_is_calibrated():
    structures = [
        atoms for pair in zip(REFERENCE[:6], REFERENCE[12:18], strict=True) for atoms in pair
    ]
    gains = []
    for batch_atoms in (1, 20, 2048):
        dataset = EntropyDataset("information", batch_atoms=batch_atoms)
        dataset.calibrate(REFERENCE[:12])
        dataset.add(structures)
        gains.append(dataset.gain(CANDIDATES))
    np.testing.assert_allclose(gains[0], gains[2], rtol=1e-8)
    np.testing.assert_allclose(gains[1], gains[2], rtol=1e-8)


@pytest.mark.parametrize("rattle_A", [0.0, 1e-8, 3e-6, 1e-5])
@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_a_relaxed_cell_as_reference_still_gives_answers(rattle_A, mode, caplog):
    """The noise of an optimiser is no scale: there is a warning, and every method still works."""
    dataset = EntropyDataset("information", mode)
    with caplog.at_level(logging.WARNING):
        dataset.calibrate([silicon(seed, rattle_A) for seed in range(4)])
    assert "one environment only for Si" in caplog.text
    dataset.add(
        [silicon(seed, 0.2, strain=strain) for seed, strain in enumerate([-0.08, 0.0, 0.08] * 20)]
    )
    perfect = [silicon(0, 0.0, strain=strain) for strain in (-0.1, 0.0, 0.1)]
    gains = dataset.gain(perfect)
    assert np.isfinite(gains).all()
    assert (gains >= 0).all()
    assert np.isfinite(dataset.entropy())


def test_one_perfect_crystal_is_enough_to_start():
    dataset = EntropyDataset("information")
    dataset.add([silicon(0, rattle_A=0.0)])
    gains = dataset.gain([silicon(1, 0.0), silicon(2, 0.05), silicon(3, 0.3)])
    assert np.isfinite(gains).all()
    assert gains[0] < gains[1] < gains[2]


def test_an_add_that_fails_changes_nothing():
    dataset = EntropyDataset("information")
    broken = silicon(0)
    broken.positions[0] = np.nan
    with pytest.raises(StructureError):
        dataset.add([silicon(1), salt(1), broken])
    assert (len(dataset), dataset.whitening.species, dataset.moments.species) == (0, (), ())


def test_removing_what_was_never_added_is_refused():
    dataset = calibrated("paper", "per_atom")
    dataset.add([silicon(0), silicon(1)])
    with pytest.raises(SelectionError, match="is not in the dataset"):
        dataset.remove([silicon(0), silicon(0)])
    assert len(dataset) == 2


@pytest.mark.parametrize(("entropy", "mode"), [("information", "per_atom"), ("paper", "per_atom")])
def test_removing_a_look_alike_is_refused(entropy, mode):
    """Equal hash, other rows: eight decimals of a file, where motion of 1e-3 A sets the scale."""
    dataset = EntropyDataset(entropy, mode, epsilon=1e-12)
    dataset.calibrate([silicon(seed, 1e-3) for seed in range(8)])
    members = [silicon(seed, 0.3, strain=-0.1) for seed in range(4)]
    dataset.add([*members, silicon(9, 1e-3)])
    before = dataset.gain(CANDIDATES[:1])
    copies = [as_written(atoms) for atoms in members]
    assert all(atoms in dataset for atoms in copies)
    with pytest.raises(
        SelectionError, match="of Si that were to be removed are not those that were added"
    ):
        dataset.remove(copies)
    np.testing.assert_array_equal(dataset.gain(CANDIDATES[:1]), before)
    dataset.remove(members)
    assert len(dataset) == 1


@pytest.mark.parametrize(("entropy", "mode"), KINDS)
def test_removing_what_a_file_kept_is_good_to_its_decimals(entropy, mode):
    dataset = calibrated(entropy, mode)
    dataset.add(ADDED)
    entropy_before = dataset.entropy()
    dataset.add(CANDIDATES)
    dataset.remove([as_written(atoms) for atoms in CANDIDATES])
    # 5e-9 A of each coordinate, against whitened rows that move by up to 1e4 per Angstrom.
    assert dataset.entropy() == pytest.approx(entropy_before, abs=1e-3)


@pytest.mark.parametrize("ask", ["add", "calibrate", "gain"])
def test_one_structure_is_as_good_as_a_list(ask):
    single, listed = EntropyDataset("information"), EntropyDataset("information")
    for dataset, source in ((single, silicon(0)), (listed, [silicon(0)])):
        if ask == "gain":
            dataset.calibrate(REFERENCE)
            assert dataset.gain(source).shape == (1,)
        else:
            getattr(dataset, ask)(source)
    assert single.whitening.agrees_with(listed.whitening)
    assert len(single) == len(listed)


def test_membership_is_by_content():
    dataset = calibrated("paper", "per_atom")
    dataset.add([silicon(0)])
    image = silicon(0)
    image.positions[3] += image.cell.array.sum(axis=0)
    assert image in dataset
    assert silicon(1) not in dataset


def test_a_bias_is_a_snapshot():
    dataset = calibrated("information", "per_atom")
    before = dataset.bias()
    dataset.add(ADDED)
    assert dataset.bias().entropy is not before.entropy
    assert dataset.bias().entropy is dataset.bias().entropy


def test_mixed_periodicity_keeps_the_order():
    slab = silicon(3)
    slab.pbc = (True, True, False)
    slab.center(vacuum=5.0, axis=2)
    structures = [silicon(1), slab, silicon(2), slab]
    dataset = calibrated("information", "per_atom")
    gains = dataset.gain(structures)
    for atoms, gain in zip(structures, gains, strict=True):
        assert dataset.gain([atoms])[0] == pytest.approx(gain, rel=1e-10)


def test_nothing_has_no_gain_and_empty_structures_are_refused():
    dataset = calibrated("information", "per_atom")
    assert dataset.gain([]).shape == (0,)
    with pytest.raises(StructureError, match="structure 0 has no atoms"):
        dataset.gain([Atoms()])
    with pytest.raises(SelectionError, match="no structure to calibrate on"):
        EntropyDataset("information").calibrate([])


@pytest.mark.parametrize("kind", ["local", "none"])
def test_entropies_without_a_dataset_are_refused(kind):
    with pytest.raises(SelectionError, match=f"entropy='{kind}' has no dataset"):
        EntropyDataset.from_config(EntropyConfig(kind=kind))
