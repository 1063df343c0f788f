"""`entrove status` fits into the terminal and shows the numbers of the results."""

import dataclasses
import shlex
from collections import Counter
from pathlib import Path

import pytest
from silicon_results import silicon_results
from test_page import EMPTY

from entrove.campaign.results.results import RefusedModel
from entrove.report.status import MOST_QUARANTINED, NARROW, summary_text
from entrove.validation.comparison import Comparison

RESULTS = silicon_results()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = summary_text(RESULTS, width)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 60, 120])
def test_tables_are_not_broken_in_a_narrow_terminal(width: int) -> None:
    lines = summary_text(RESULTS, width).splitlines()
    total = [row for row in RESULTS.errors if row.phase == "all"]
    cells = next(line for line in lines if line.strip().startswith("round 2")).split()
    assert [float(cell) for cell in cells[2:]] == pytest.approx(
        [
            total[-1].errors.energy_mae_meV_per_atom,
            total[-1].errors.force_mae_meV_per_A,
            total[-1].errors.stress_mae_meV_per_A3,
            total[-1].errors.energy_centred_mae_meV_per_atom,
        ],
        abs=0.06,
    )
    indent = "" if width < NARROW else "  "
    assert f"{indent}validation labels   2 min 08 s" in lines
    assert any(line.split() == ["1", "12", "61.4", "5.12"] for line in lines)


def test_labels_are_counted_by_phase() -> None:
    """Every label is counted once, under its phase, as good or in quarantine."""
    lines = summary_text(RESULTS, 120).splitlines()
    first = lines.index("Labels by phase") + 2
    phases = list(dict.fromkeys(label.phase for label in RESULTS.labels))
    for phase, line in zip(phases, lines[first:], strict=False):
        good = Counter(
            label.purpose
            for label in RESULTS.labels
            if label.phase == phase and label.outcome == "converged"
        )
        failed = sum(
            label.phase == phase and label.outcome != "converged" for label in RESULTS.labels
        )
        counts = [good["training"], good["validation"], failed]
        assert line.split() == [*phase.split(), *map(str, counts)]


def test_failures_are_listed_up_to_a_few() -> None:
    failed = next(label for label in RESULTS.labels if label.outcome == "not converged")
    text = summary_text(
        dataclasses.replace(RESULTS, labels=(failed,) * (MOST_QUARANTINED + 3)), 200
    )
    assert text.count(failed.cause) == MOST_QUARANTINED
    assert f"'entrove labels {RESULTS.folder}'; with --retry" in text
    assert "and 3 more; see the report" in text


def test_commands_name_a_folder_with_blanks_as_one_word() -> None:
    failed = next(label for label in RESULTS.labels if label.outcome == "not converged")
    folder = Path("/home/me/my folder")
    results = dataclasses.replace(
        RESULTS,
        folder=folder,
        labels=(failed,),
        comparison=Comparison(False, "worse", 1.2, 1.2, 1.2, verdict="worse"),
        refused=RefusedModel(2, folder / "model.pth"),
    )
    text = " ".join(summary_text(results, 400).split())
    for command, path in (("entrove labels", folder), ("entrove audit", folder / "dataset.xyz")):
        assert f"'{command} {shlex.quote(str(path))}'" in text


def test_imported_labels_are_counted_by_what_is_done_with_them() -> None:
    imported = dataclasses.replace(RESULTS, imported=6, imported_not_trained_on=4)
    assert (
        "imported labels    6 trained on, 4 used only where exactly these structures are asked for"
        in summary_text(imported, 120)
    )
    waiting = dataclasses.replace(imported, imports_wait=True)
    assert "imported labels    6 to be trained on, 4 used only" in summary_text(waiting, 120)


def test_an_empty_campaign_has_a_status() -> None:
    text = summary_text(EMPTY, 60)
    assert "new: not finished" in text
    assert "none yet" in text
    assert "Validation errors" not in text


def test_square_brackets_are_not_markup() -> None:
    text = summary_text(
        dataclasses.replace(RESULTS, name="[red]silicon[/red]", verdict="[link=x]y[/]"), 120
    )
    assert "[red]silicon[/red]: finished" in text
    assert "[link=x]y[/]" in text


def test_a_narrow_terminal_has_lines_in_place_of_a_wide_table_and_says_what_it_lacks() -> None:
    errors = [
        dataclasses.replace(
            row, errors=dataclasses.replace(row.errors, energy_interval_meV_per_atom=(1.0, 9.0))
        )
        for row in RESULTS.errors
    ]
    known = dataclasses.replace(RESULTS, errors=tuple(errors))
    narrow, wide = summary_text(known, 40), summary_text(known, 120)
    phase = RESULTS.labels[0].phase
    [line] = [one for one in narrow.splitlines() if one.startswith(f"{phase}: ")]
    assert " training" in line
    hidden = "intervals: in a wider terminal, or with --json"
    assert [hidden in " ".join(text.split()) for text in (narrow, wide)] == [True, False]


def test_a_round_whose_picks_have_no_label_yet_has_added_nothing() -> None:
    waiting = max(label.round for label in RESULTS.labels) + 1
    picked = dataclasses.replace(
        RESULTS, next_gain_nats={**RESULTS.next_gain_nats, waiting: 34.25}
    )
    assert "34.2" not in summary_text(picked, 120)
