"""A campaign with the paper's entropy starts from crystals, not from an empty dataset."""

import pytest

from cheap_campaign import make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Selected
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
