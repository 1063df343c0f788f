"""A campaign stops before labels when a calibrated committee predicts a small force error."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pydantic import ValidationError

from cheap_campaign import Bench, Scaled, make_bench
from entrove.campaign import loop
from entrove.campaign.configuration.config import CampaignConfig, StoppingConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Selected
from entrove.campaign.journal.progress import Silence
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stopping import stop_before_labels
from entrove.models.ase import SerialModel, from_calculator
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash, read_structures

SCALE, OTHERS = 0.97, (0.05, -0.03, 0.1, -0.08)
COMMITTEE = {"epochs": 1, "committee_size": 5, "member_labels": 0.5}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = make_bench(tmp_path, monkeypatch)
    found.scales, found.member_scales = {1: SCALE, 2: SCALE}, OTHERS
    return found


def run(bench: Bench, allowed: float | None, biases: list[dict[str, Any]]) -> Selected:
    """Run two rounds at most, and return the selection of the second."""
    bench.run(
        stopping={"rounds": 2, "predicted_force_rmse_meV_per_A": allowed},
        selection={"count": 8},
        sampling={"biases": biases},
        training=COMMITTEE,
    )
    return Ledger(bench.files.ledger).each(Selected)[2]


class Twice(SerialModel):
    """A fault of batches: all results are twice those of the calculator."""

    def forward(self, state, **kwargs):
        return {name: 2 * value for name, value in super().forward(state).items()}


def faulty(scale: float, name: str = "faulty") -> LoadedModel:
    model = from_calculator(Scaled(scale), name=name)
    return replace(model, model=Twice(Scaled(scale)), batched=True)


def test_a_committee_whose_batches_are_wrong_is_evaluated_by_calculators(bench, monkeypatch):
    """As the model itself is, with `model.verify_batching: fall_back`."""
    monkeypatch.setattr(
        "entrove.campaign.stages.models.load",
        lambda path, **_: faulty(float(Path(path).read_text()), path),
    )
    campaign = replace(
        bench.campaign(
            model={"name": "faulty", "verify_batching": "fall_back"},
            stopping={"rounds": 1},
            training={"epochs": 1, "committee_size": 5},
        ),
        foundation=faulty(0.8),
    )
    loop.run_campaign(campaign, Silence())
    committee = CampaignModels(campaign, Ledger(bench.files.ledger)).committee(1)
    assert committee is not None
    atoms = read_structures(bench.files.dataset)[0]
    for member, other in zip(committee.members, (0.0, *OTHERS), strict=True):
        [found] = predict(member, [atoms])
        np.testing.assert_allclose(
            found.get_forces(), (SCALE + other) * forces_of(atoms), atol=1e-10
        )
    [mean] = predict(committee, [atoms])
    scale = SCALE + np.mean([0.0, *OTHERS])
    np.testing.assert_allclose(mean.get_forces(), scale * forces_of(atoms), atol=1e-10)


def forces_of(atoms) -> np.ndarray:
    free = atoms.copy()
    free.calc = EMT()
    return free.get_forces()


def predicted(bench: Bench, sample: list) -> float:
    """The same from the scales of the members: all forces are multiples of those of EMT."""
    scales = np.array([SCALE, *(SCALE + other for other in OTHERS)])
    learnt = [
        {content_hash(atoms) for atoms in read_structures(folder / "labels.xyz")}
        for folder in sorted((bench.files.folder / "round-01").glob("*/member-*"))
    ]
    assert len(learnt) == 5
    errors, spreads = 0.0, 0.0
    for atoms in read_structures(bench.files.dataset):
        own = scales[[content_hash(atoms) not in known for known in learnt]]
        if len(own) < 2 or atoms.info["entrove_round"] > 1:
            continue
        squares = np.square(forces_of(atoms)).sum()
        errors += (own.mean() - 1) ** 2 * squares
        spreads += own.var() * len(own) * 4 / ((len(own) - 1) * 5) * squares
    components = np.concatenate([forces_of(atoms).ravel() for atoms in sample])
    return 1000 * np.sqrt(errors / spreads * scales.var() * np.mean(components**2))


def test_no_label_is_computed_where_the_predicted_error_is_small_enough(bench: Bench):
    selected = run(bench, 1e4, [{"entropy": "none"}])
    walkers = read_candidates(bench.files.round(2).candidates)
    expected = predicted(bench, [candidate.atoms for candidate in walkers])
    assert selected.predicted_force_rmse_meV_per_A == pytest.approx(expected, rel=1e-4)
    assert f"force error (RMSE) of {expected:.0f} meV/A before them" in selected.summary
    assert "at most predicted_force_rmse_meV_per_A=10000" in bench.verdict()
    assert bench.trained_on == [len(bench.dataset())]


def test_a_larger_predicted_error_is_recorded_and_the_campaign_continues(bench: Bench):
    biased = {"entropy": "paper", "mode": "per_atom", "kappas_eV": [0.1]}
    selected = run(bench, 1e-3, [biased])
    # All walkers are biased: what counts are the thermal cells among the anchors.
    anchors = [a for a in read_candidates(bench.files.round(0).anchors) if a.kind == "md"]
    asked = {content_hash(a.atoms) for a in read_candidates(bench.files.round(1).selected)}
    sample = [a.atoms for a in anchors if content_hash(a.atoms) not in asked]
    assert sample
    expected = predicted(bench, sample)
    assert selected.predicted_force_rmse_meV_per_A == pytest.approx(expected, rel=1e-4)
    assert "rounds are done" in bench.verdict()


def test_nothing_is_predicted_where_nothing_asks_for_it(bench: Bench):
    assert run(bench, None, [{"entropy": "none"}]).predicted_force_rmse_meV_per_A is None


@pytest.mark.parametrize(("error", "stops"), [(39.9, True), (40.1, False), (None, False)])
def test_the_predicted_error_is_compared_with_what_is_allowed(error, stops):
    stopping = StoppingConfig(predicted_force_rmse_meV_per_A=40)
    offered = Selected(summary="", picked=9, gain_nats=90.0, predicted_force_rmse_meV_per_A=error)
    reason = stop_before_labels(stopping, 1, 12, offered)
    assert (reason is not None) == stops


@pytest.mark.parametrize("training", [{}, {"committee_size": 5}])
def test_it_needs_a_committee_that_leaves_labels_out(training):
    settings = {
        "name": "copper",
        "seeds": [{"phase": "fcc", "file": "fcc.xyz"}],
        "stopping": {"predicted_force_rmse_meV_per_A": 40},
    }
    CampaignConfig.model_validate(settings | {"training": COMMITTEE})
    with pytest.raises(ValidationError, match=r"member_labels to 0\.5"):
        CampaignConfig.model_validate(settings | {"training": training})
