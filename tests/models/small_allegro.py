"""A small Allegro or NequIP model with random weights, in the files that NequIP itself writes."""

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from trial_structures import rattled

ALLEGRO = {
    "_target_": "allegro.model.AllegroModel",
    "seed": 1,
    "model_dtype": "float64",
    "type_names": ["Si", "C"],
    "r_max": 4.0,
    "l_max": 1,
    "num_layers": 2,
    "num_scalar_features": 8,
    "num_tensor_features": 4,
    "radial_chemical_embed": {
        "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
        "num_bessels": 4,
        "bessel_trainable": False,
        "polynomial_cutoff_p": 6,
    },
    "avg_num_neighbors": 20.0,
    "per_type_energy_scales": {"Si": 1.0, "C": 2.0},
    "per_type_energy_shifts": {"Si": -5.0, "C": -9.0},
}

NEQUIP = {
    "_target_": "nequip.model.NequIPGNNModel",
    "seed": 1,
    "model_dtype": "float64",
    "type_names": ["Si", "C"],
    "r_max": 4.0,
    "l_max": 1,
    "num_layers": 2,
    "num_features": 8,
    "num_bessels": 4,
    "bessel_trainable": False,
    "polynomial_cutoff_p": 6,
    "radial_mlp_depth": 1,
    "radial_mlp_width": 8,
    "avg_num_neighbors": 20.0,
    "per_type_energy_scales": {"Si": 1.0, "C": 2.0},
    "per_type_energy_shifts": {"Si": -5.0, "C": -9.0},
}


def write_checkpoint(path: Path, model: dict, dtype: str = "float64") -> Path:
    """Write an untrained model as the checkpoint of a training run that has not taken a step.

    A few structures lie beside it, because `nequip-package` tries the model on the training data.
    """
    import lightning
    import torch
    from nequip.train.lightning import NequIPLightningModule
    from nequip.utils import get_current_code_versions

    data_file = path.with_suffix(".extxyz")
    structures = []
    for seed in range(4):
        atoms = rattled(bulk("SiC", "zincblende", a=4.36, cubic=True), seed)
        atoms.calc = SinglePointCalculator(
            atoms, energy=0.0, forces=np.zeros((8, 3)), stress=np.zeros(6)
        )
        structures.append(atoms)
    write(data_file, structures)
    transforms = [
        {
            "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
            "model_type_names": model["type_names"],
        },
        {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": model["r_max"]},
    ]
    data = {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "train_file_path": str(data_file),
        "val_file_path": str(data_file),
        "transforms": transforms,
        "seed": 1,
    }
    description = {
        "_target_": "nequip.train.NequIPLightningModule",
        "model": model | {"model_dtype": dtype},
    }
    info = {
        "versions": get_current_code_versions(),
        "data": data,
        "trainer": {},
        "global_options": {"allow_tf32": False},
        "runs": ["train"],
        "training_module": description,
    }
    module = NequIPLightningModule(
        model=description["model"],
        num_datasets={"train": 1, "val": 1, "test": 0, "predict": 0},
        info_dict=info,
    )
    checkpoint = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "pytorch-lightning_version": lightning.__version__,
    }
    torch.save(checkpoint, path)
    return path
