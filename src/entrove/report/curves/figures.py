"""Errors against the number of labels, both logarithmic; bars span the draws."""

from entrove.curves.results import QUANTITIES, StudyResults
from entrove.report.curves.tables import TITLES, counts_of
from entrove.report.figures.style import Figure, Style, axis, layout, plot_text


def draw_curve(
    results: StudyResults,
    student: str,
    test: str,
    group: str,
    quantity: str,
    styles: dict[str, Style],
    number: int,
) -> Figure | None:
    """Draw one panel; None where the errors are not known.

    Args:
        results: The points.
        student, test, group: What was trained, and tested on what.
        quantity: A key of `QUANTITIES`.
        styles: Colour and symbol of each arm.
        number: Makes the name of the figure unique.
    """
    data = []
    for arm in results.arms(student):
        curve = results.curve(student, arm, test, group, quantity)
        means = curve.means
        known = [i for i in range(len(means)) if means[i] > 0]
        if not known:
            continue
        style = styles[arm]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plot_text(arm, 60),
                "x": [curve.counts[i] for i in known],
                "y": [float(means[i]) for i in known],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [float(curve.values[i].max() - means[i]) for i in known],
                    "arrayminus": [float(means[i] - curve.values[i].min()) for i in known],
                    "thickness": 1,
                    "width": 3,
                    "color": style.colour,
                },
                "line": {"color": style.colour, "width": 2},
                "marker": {"color": style.colour, "symbol": style.symbol, "size": 8},
                "hovertemplate": f"{plot_text(arm, 60)}<br>%{{x}} labels: %{{y:.4g}} "
                f"{QUANTITIES[quantity]}<extra></extra>",
            }
        )
    if not data:
        return None
    counts = counts_of(results, student)
    x = axis("labels", type="log", tickvals=counts, ticktext=[str(c) for c in counts])
    y = axis(f"MAE ({QUANTITIES[quantity]})", type="log", nticks=6)
    return Figure(
        f"curve-{number}",
        f"{TITLES[quantity].capitalize()}",
        f"{TITLES[quantity]} error of {student} on {test}, {group}, against the number of labels",
        data,
        layout(x, y),
        300,
    )
