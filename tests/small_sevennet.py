"""A SevenNet of 566 weights, which SevenNet's own code builds."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch

from entrove.models.torch_settings import ignoring_known_warnings


def write_small_sevennet(
    path: Path,
    species: Sequence[str] = ("Na", "Si", "Cl"),
    seed: int = 0,
    shift: float | Sequence[float] | None = None,
) -> Path:
    """Write a checkpoint with random weights; `shift` is one energy for all species, or a list."""
    with ignoring_known_warnings():
        import sevenn
        from sevenn._const import DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG
        from sevenn.model_build import build_E3_equivariant_model
        from sevenn.util import chemical_species_preprocess

        config = copy.deepcopy(DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG)
        config.update(chemical_species_preprocess(list(species)))
        config.update(
            version=sevenn.__version__,
            cutoff=4.0,
            channel=4,
            lmax=1,
            num_convolution_layer=2,
            weight_nn_hidden_neurons=[8],
            conv_denominator=[10.0, 10.0],
            shift=[0.0] * len(species) if shift is None else shift,
            scale=1.0,
        )
        torch.manual_seed(seed)
        model = build_E3_equivariant_model(config)
    torch.save({"config": config, "model_state_dict": model.state_dict(), "epoch": 0}, path)
    return path
