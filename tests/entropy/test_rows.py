"""Splitting a batch into rows, and sending gradients back, are adjoint and lose nothing."""

import pytest
import torch
from feature_batches import random_batch, reordered

from entrove.entropy.rows import SHARED, split_rows


@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
@pytest.mark.parametrize("species_blocks", [True, False])
def test_spread_is_the_adjoint_of_split(mode, species_blocks):
    batch = random_batch(0, species=(11, 17))
    generator = torch.Generator().manual_seed(1)
    gradient = torch.zeros_like(batch.values)
    through_rows = 0.0
    for block in split_rows(batch, mode, species_blocks=species_blocks):
        weights = torch.rand(block.values.shape, generator=generator, dtype=torch.float64)
        through_rows += float((weights * block.values).sum())
        block.spread(weights, gradient)
    # The rows are linear in the features, so <weights, rows(x)> = <spread(weights), x>.
    assert float((gradient * batch.values).sum()) == pytest.approx(through_rows, rel=1e-13)


@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_unpad_undoes_pad_and_padding_is_zero(mode):
    for block in split_rows(random_batch(2, species=(11, 17)), mode):
        padded = block.pad(block.values)
        assert torch.equal(block.unpad(padded), block.values)
        assert float(padded.abs().sum()) == pytest.approx(
            float(block.values.abs().sum()), rel=1e-14
        )
        assert int(block.count.sum()) == len(block.values)


def test_rows_of_a_configuration_are_the_means_of_its_species():
    batch = random_batch(3, sizes=(3, 5), species=(11, 17))
    for block in split_rows(batch, "per_config"):
        for row, system in zip(block.values, block.system_idx, strict=True):
            members = (batch.system_idx == system) & (batch.numbers == block.number)
            torch.testing.assert_close(row, batch.values[members].mean(0), rtol=1e-14, atol=1e-14)


def test_shared_block_holds_all_atoms():
    batch = random_batch(4, species=(11, 17))
    (block,) = split_rows(batch, "per_atom", species_blocks=False)
    assert block.number == SHARED
    assert len(block.values) == len(batch.values)


def test_atoms_of_a_system_need_not_be_neighbours():
    batch = random_batch(5, species=(11, 17))
    order = torch.randperm(len(batch.values), generator=torch.Generator().manual_seed(6))
    shuffled = split_rows(reordered(batch, order), "per_config")
    for block, same in zip(split_rows(batch, "per_config"), shuffled, strict=True):
        torch.testing.assert_close(block.values, same.values, rtol=1e-14, atol=1e-14)
