"""The table of recipes that cross-validation compared, round by round."""

from collections.abc import Mapping

from entrove.report.formatting import MISSING, format_column, format_number
from entrove.report.tables import Column, Table
from entrove.training.choice import Choice, TriedRecipe


def recipes_table(choices: Mapping[int, Choice]) -> Table:
    """List every recipe that was compared, with its losses; empty where none was."""
    rows = [
        (round_index, choice, row)
        for round_index, choice in choices.items()
        for row in choice.tried
    ]
    columns = [
        format_column([getattr(row, name) for _, _, row in rows])
        for name in ("mean", "standard_error", "difference", "difference_error")
    ]
    cells = [
        (
            str(round_index),
            row.strategy,
            row.settings or MISSING,
            _fold_losses(row),
            *numbers,
            "chosen" if row.name == str(choice.recipe) else "",
        )
        for (round_index, choice, row), *numbers in zip(rows, *columns, strict=True)
    ]
    heads = (
        Column("Round", numeric=True),
        Column("Strategy"),
        Column("Learning rate", numeric=True),
        Column("Loss on each fold", numeric=True),
        Column("Mean", numeric=True),
        Column("Standard error", numeric=True),
        Column("Minus the first", numeric=True),
        Column("Its standard error", numeric=True),
        Column(""),
    )
    return Table(heads, cells)


def _fold_losses(row: TriedRecipe) -> str:
    return ", ".join(
        "diverged" if loss is None else format_number(loss) for loss in row.fold_losses
    )
