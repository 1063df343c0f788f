"""A hot snapshot of each phase is computed with denser k-points before other labels."""

from typing import Any

import pytest

from cheap_campaign import Bench, Labels, make_bench
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Labelled
from entrove.campaign.results.read import read_results
from entrove.errors import CampaignError
from entrove.structures import content_hash, read_structures


@pytest.fixture
def bench(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, monkeypatch)


def engine(**denser: Any) -> dict[str, Any]:
    """EMT, of which another cutoff stands for denser k-points."""
    return {
        "name": "ase",
        "calculator": "cheap_campaign:Labels",
        "denser_arguments": denser,
    }


def held_out(bench: Bench) -> Labelled:
    labelled = Ledger(bench.files.ledger).find(0, Labelled)
    assert labelled is not None
    return labelled


def hottest(bench: Bench) -> str:
    candidates = read_structures(bench.files.round(0).hold_out)
    [snapshot] = [each for each in candidates if each.info.get("entrove_temperature_K")]
    return content_hash(snapshot)


def test_labels_that_denser_kpoints_change_are_said_aloud(bench: Bench):
    bench.run(stopping={"rounds": 1}, labelling={"engine": engine(asap_cutoff=True)})
    found = held_out(bench)
    assert found.kpoints is not None
    [difference] = found.kpoints.differences
    assert difference.phase == "fcc"
    assert difference.temperature_K == 900
    assert difference in found.kpoints.beyond
    assert "warning: labels are not converged in their k-points" in found.summary
    assert read_results(bench.files.folder).kpoints == found.kpoints


def test_no_label_is_taken_from_denser_kpoints(bench: Bench):
    """The dataset is that of a campaign without the check, and the snapshot is computed twice."""
    bench.run(stopping={"rounds": 1}, labelling={"engine": engine(asap_cutoff=True)})
    snapshot = hottest(bench)
    assert bench.computed.count(snapshot) == 2
    assert len(bench.computed) == len(set(bench.computed)) + 1
    energies = [
        [atoms.get_potential_energy() for atoms in read_structures(path)]
        for path in (bench.files.dataset, bench.files.validation)
    ]
    levels = {
        atoms.info["entrove_level_of_theory"]
        for path in (bench.files.dataset, bench.files.validation)
        for atoms in read_structures(path)
    }
    assert len(levels) == 1
    computed, bench.computed = bench.computed, []
    bench.folder = bench.folder / "off"
    bench.folder.mkdir()
    bench.run(
        stopping={"rounds": 1},
        labelling={
            "engine": engine(asap_cutoff=True),
            "kpoint_check": {"on_difference": "off"},
        },
    )
    assert sorted(bench.computed) == sorted(set(computed))
    assert held_out(bench).kpoints is None
    assert energies == [
        [atoms.get_potential_energy() for atoms in read_structures(path)]
        for path in (bench.files.dataset, bench.files.validation)
    ]


def test_it_stops_before_other_labels_where_asked_and_computes_nothing_twice(bench: Bench):
    settings = {
        "engine": engine(asap_cutoff=True),
        "kpoint_check": {"on_difference": "stop"},
    }
    for _ in range(2):
        with pytest.raises(CampaignError, match=r"not converged in their k-points.* fcc: "):
            bench.run(stopping={"rounds": 1}, labelling=settings)
        # Two volumes, and the snapshot with both.
        assert len(bench.computed) == 4
    wide = {"energy_meV_per_atom": 1e4, "force_meV_per_A": 1e4, "stress_meV_per_A3": 1e4}
    settings["kpoint_check"] |= wide
    bench.run(stopping={"rounds": 1}, labelling=settings)
    assert "k-points" not in held_out(bench).summary
    assert bench.computed.count(hottest(bench)) == 2


def test_a_calculator_without_kpoints_is_not_checked(bench: Bench):
    bench.run(stopping={"rounds": 1})
    assert held_out(bench).kpoints is None
    assert len(set(bench.computed)) == len(bench.computed)


def test_a_failed_label_is_not_compared(bench: Bench, monkeypatch):
    original = Labels.__init__

    def fail_when_denser(self, **arguments):
        original(self, **arguments)
        if arguments.get("asap_cutoff"):
            raise RuntimeError("out of memory")

    monkeypatch.setattr(Labels, "__init__", fail_when_denser)
    bench.run(stopping={"rounds": 1}, labelling={"engine": engine(asap_cutoff=True)})
    assert held_out(bench).kpoints is None
    assert len(held_out(bench).labels) == len(read_structures(bench.files.validation))
