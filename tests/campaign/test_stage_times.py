"""Core time of stages, from the times that the ledger and the labels have."""

import math

import pytest

from cheap_campaign import SETTINGS
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import StageRecord
from entrove.campaign.journal.outcomes import Checked, Labelled, LabelRow, StageOutcome, Trained
from entrove.campaign.results.stage_times import stage_times
from entrove.labelling.config import KpointCheckSettings
from entrove.labelling.kpoint_check import KpointComparison, KpointDifference
from entrove.validation.suite.result import SuiteResult

WORKERS_OF_TWO = {"executor": {"name": "local", "workers": 3, "cores_per_worker": 2}}
CONFIG = CampaignConfig.model_validate(
    SETTINGS | {"labelling": SETTINGS["labelling"] | WORKERS_OF_TWO, "model": {"threads": 2}}
)


def row(seconds: float, round_index: int = 0, *, from_cache: bool = False) -> LabelRow:
    return LabelRow(
        "training", round_index, "0", "fcc", "md", "", 0.0, None, None, "converged", "", seconds,
        from_cache,
    )  # fmt: skip


def core_seconds(
    outcome: StageOutcome, wall_seconds: float, labels: tuple[LabelRow, ...] = ()
) -> float | None:
    [time] = stage_times([StageRecord(0, outcome, 0.0, wall_seconds)], labels, CONFIG)
    return time.core_seconds


def test_labelling_takes_the_time_of_the_engine_denser_kpoints_included():
    labels = (row(10.0), row(20.0), row(1.0, 1), row(50.0, from_cache=True), row(math.nan))
    plain = Labelled(summary="", labels=labels)
    assert core_seconds(plain, 1000.0, labels) == 2 * (10 + 20)
    difference = KpointDifference(
        phase="fcc",
        temperature_K=900.0,
        kpoints=32,
        denser_kpoints=63,
        energy_meV_per_atom=0.1,
        force_meV_per_A=0.1,
        stress_meV_per_A3=0.1,
        times_as_long=2.5,
        denser_engine_seconds=25.0,
    )
    kpoints = KpointComparison(settings=KpointCheckSettings(), differences=(difference,) * 2)
    checked = plain.model_copy(update={"kpoints": kpoints})
    assert core_seconds(checked, 1000.0, labels) == 2 * (10 + 20 + 25 + 25)


def test_checks_take_their_cores_and_those_of_the_engine_while_it_labels_volumes():
    suite = SuiteResult("", "", (), {}, {}, "", complete=True)
    outcome = Checked(summary="", model_round=1, suite=suite, cores=4)
    assert core_seconds(outcome, 100.0) == 400.0
    volumes = outcome.model_copy(
        update={"volumes": (row(30.0), row(15.0)), "labelling_seconds": 40.0}
    )
    assert core_seconds(volumes, 100.0) == 4 * (100 - 40) + 2 * (30 + 15)
    # A label is computed once, and an interrupted attempt counts as time of the checks.
    known = outcome.model_copy(update={"volumes": (row(30.0, from_cache=True),)})
    assert core_seconds(known, 100.0) == 400.0


@pytest.mark.parametrize(("cores", "expected"), [(3, 30.0), (None, 20.0)])
def test_other_stages_take_the_cores_that_they_have(cores: int | None, expected: float):
    """Earlier versions did not record cores: the threads of the configuration are taken."""
    assert core_seconds(Trained(summary="", checkpoint="", cores=cores), 10.0) == expected
