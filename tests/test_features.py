"""Features of a batch that belong together cannot be taken apart by mistake."""

import jaxtyping
import pytest
import torch

from entrove.errors import ConfigError
from entrove.features import AtomFeatures


def batch_of(systems: list[int]) -> AtomFeatures:
    atoms = len(systems)
    values = torch.arange(3.0 * atoms, dtype=torch.float64).reshape(atoms, 3)
    return AtomFeatures(values, torch.arange(atoms) + 11, torch.tensor(systems), max(systems) + 1)


@pytest.mark.parametrize("short", ["values", "numbers", "system_idx"])
def test_shapes_that_do_not_fit_are_refused(short, monkeypatch):
    # Outside of tests nothing checks the annotations.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    batch = batch_of([0, 0, 1])
    parts = {name: getattr(batch, name) for name in ("values", "numbers", "system_idx")}
    parts[short] = parts[short][:2]
    with pytest.raises(ConfigError, match="give one of each for every atom"):
        AtomFeatures(**parts, n_systems=2)


def test_some_of_the_systems_keep_their_atoms_and_are_counted_anew():
    batch = batch_of([2, 0, 1, 2, 0])
    chosen = batch.of_systems(torch.tensor([True, False, True]))
    assert chosen.n_systems == 2
    assert chosen.system_idx.tolist() == [1, 0, 1, 0]
    assert chosen.numbers.tolist() == [11, 12, 14, 15]
    assert torch.equal(chosen.values, batch.values[[0, 1, 3, 4]])


def test_all_systems_are_the_batch():
    batch = batch_of([1, 0, 1])
    everything = batch.of_systems(torch.ones(2, dtype=torch.bool))
    for name in ("values", "numbers", "system_idx"):
        assert torch.equal(getattr(everything, name), getattr(batch, name))
