"""A campaign folder with labels, as a campaign writes it, but without models and MD."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.settled import settle_config
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled
from entrove.campaign.workspace import Workspace
from entrove.labelling.attempt import AttemptFolder, AttemptResult
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.moments import key_of
from entrove.sampling.candidates import Candidate, write_candidates
from entrove.structures import content_hash


def copper(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    return atoms


def make_campaign(folder: Path, cache: Path | None = None) -> tuple[CampaignConfig, Workspace]:
    """Two picked structures (seeds 0 and 1), and a hold-out (seed 2) that is labelled already."""
    config = CampaignConfig.model_validate(
        {
            "name": "copper",
            "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
            "labelling": {
                "engine": {"name": "ase", "calculator": "ase.calculators.emt:EMT"},
                "cache": None if cache is None else str(cache),
            },
        }
    )
    workspace = Workspace(folder)
    folder.mkdir(parents=True)
    settle_config(workspace.config, config)
    Ledger(workspace.ledger).enter(0, Labelled(summary="1 label"), 1.0)
    for round_index in (0, 1):
        workspace.round(round_index).folder.mkdir()
    write_candidates(
        workspace.round(0).hold_out,
        [Candidate(copper(2), "validation", "strain", "fcc", 0.0)],
    )
    write_candidates(
        workspace.round(1).selected,
        [Candidate(copper(seed), "entropy_md", "md", "fcc", 0.0) for seed in range(2)],
    )
    with (
        LabelCache(cache or workspace.label_cache) as labels,
        Labeller(config.labelling, labels, workspace.label_work),
    ):
        pass
    return config, workspace


def store(
    config: CampaignConfig,
    cache_path: Path,
    work: Path,
    seed: int,
    outcome: Outcome,
    *,
    moments: list[float] | None = None,
) -> Path:
    """Enter a label and write the folder of its one attempt into `work`; return that folder."""
    atoms = copper(seed)
    atoms.set_initial_magnetic_moments(moments)
    attempt = AttemptFolder.of(work, key_of(atoms)).next_folder()
    attempt.mkdir(parents=True)
    AttemptResult(outcome, "on purpose").write(attempt)
    with LabelCache(cache_path) as cache:
        labeller = Labeller(config.labelling, cache, work)
        converged = outcome is Outcome.CONVERGED
        label = Label(
            content_hash(atoms),
            labeller.level.hash,
            outcome,
            cause="" if converged else "on purpose",
            folder=str(attempt),
            energy_eV=0.0 if converged else None,
            forces_eV_per_A=np.zeros((4, 3)) if converged else None,
        )
        cache.put(atoms, label, labeller.level)
    return attempt
