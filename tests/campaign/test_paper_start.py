"""A campaign with the paper's entropy starts from crystals, not from an empty dataset."""

import pytest

from cheap_campaign import make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Selected
from entrove.campaign.stages.explore import shared_dataset
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash

LEAST_GAIN_OF_THE_PAPER = 0.01


@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_something_passes_the_least_gain_of_the_paper(mode, tmp_path, monkeypatch):
    """From an empty dataset, per_config picked none of these 40 candidates."""
    campaign = make_bench(tmp_path, monkeypatch)
    campaign.run(
        entropy={"kind": "paper", "mode": mode},
        sampling={
            "chunks": 4,
            "biases": [{"entropy": "paper", "mode": mode, "kappas_eV": [2.0, 5.0]}],
        },
        selection={"count": 12, "least_gain": LEAST_GAIN_OF_THE_PAPER},
        stopping={"rounds": 1},
    )
    selected = Ledger(campaign.files.ledger).find(1, Selected)
    assert selected is not None
    assert selected.picked >= 3
    assert min(selected.gains_nats) >= LEAST_GAIN_OF_THE_PAPER
    picks = read_candidates(campaign.files.round(1).selected)
    anchors = read_candidates(campaign.files.round(0).anchors)
    crystals = {content_hash(a.atoms) for a in anchors if a.kind in ("relaxed", "md")}
    assert not crystals & {content_hash(pick.atoms) for pick in picks}


@pytest.mark.parametrize("method", ["gain", "random"])
def test_a_cell_of_the_start_is_held_only_once_it_is_labelled(method, tmp_path, monkeypatch):
    """Cells that the statistics start from may be labelled, like any other without a label."""
    bench = make_bench(tmp_path, monkeypatch)
    paper = {"entropy": {"kind": "paper"}, "selection": {"count": 40, "method": method}}
    # Hot: cells that nearly equal one of the validation set are not offered.
    paper["sampling"] = {"thermalise_steps": 40}
    bench.run(**paper, stopping={"rounds": 1})
    ledger = Ledger(bench.files.ledger)
    selected = ledger.find(1, Selected)
    assert selected is not None
    anchors = read_candidates(bench.files.round(0).anchors)
    picks = [content_hash(pick.atoms) for pick in read_candidates(bench.files.round(1).selected)]
    # All but near-duplicates are labelled, with as many labels in the control arm.
    assert selected.rejected.get("duplicate", 0) == 0
    starts = {content_hash(anchor.atoms) for anchor in anchors if anchor.kind in ("relaxed", "md")}
    assert starts & set(picks)
    if method == "random":
        assert starts <= set(picks)
    # Labelled, they are held; and the statistics have them once, with a label or without.
    campaign = bench.campaign(**paper)
    labelled = {content_hash(atoms) for atoms in bench.files.training_labels()}
    assert starts & labelled
    dataset = shared_dataset(campaign).selecting
    assert starts & labelled == starts & dataset.hashes
    assert dataset.moments[29].count == 4 * len(labelled | starts)
