"""Draw docs/images/curves.png: errors against labels, with the range of the draws.

python benchmarks/curves/plot.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from entrove.curves import read_study

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
STUDENT, TEST = "soap", "independent"
SYSTEMS = {
    "silicon": {
        "three-lengths.json": ("random_md", "random_pool", "ours"),
        "paper.json": ("paper", "farthest_points"),
    },
    "sodium_chloride": {"three-lengths.json": ("random_md", "random_pool", "ours")},
    "carbon": {"three-lengths.json": ("random_md", "random_pool", "ours")},
}
"""Of each system, the files of its results and the arms that are drawn of each."""
ARMS = {
    "random_md": ("random MD", "#666666"),
    "random_pool": ("random from the pools", "#c98a00"),
    "ours": ("the default selection", "#1464b4"),
    "farthest_points": ("farthest points on random MD", "#b05fc4"),
    "paper": ("the paper's definition", "#c0392b"),
}
QUANTITIES = (
    ("energy", "energy, meV/atom"),
    ("force", "forces, meV/Å"),
    ("stress", "stress, meV/Å³"),
)
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
TICKS_OF_SHORT_AXES = (15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 150, 200)


def main() -> None:
    """Draw a row of panels for each system."""
    figure, rows = plt.subplots(len(SYSTEMS), 3, figsize=(10, 9), constrained_layout=True)
    for panels, (system, files) in zip(rows, SYSTEMS.items(), strict=True):
        for file, arms in files.items():
            draw_file(panels, HERE / system / "results" / file, arms)
        for panel, (_, title) in zip(panels, QUANTITIES, strict=True):
            finish(panel, f"{system.replace('_', ' ')}: {title}")
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.savefig(HERE.parents[1] / "docs" / "images" / "curves.png", dpi=110)


def draw_file(panels, file: Path, arms: tuple[str, ...]) -> None:
    """Draw the mean and the range of the draws of these arms."""
    points = [
        point
        for point in read_study(file).points
        if (point.student, point.test, point.errors.group) == (STUDENT, TEST, "all")
    ]
    for arm in arms:
        label, colour = ARMS[arm]
        counts = sorted({point.labels for point in points if point.arm == arm})
        for panel, (name, _) in zip(panels, QUANTITIES, strict=True):
            draws = [
                [
                    getattr(point.errors, name)
                    for point in points
                    if (point.arm, point.labels) == (arm, count)
                ]
                for count in counts
            ]
            means = [np.mean(of_count) for of_count in draws]
            panel.plot(counts, means, "o-", color=colour, label=label)
            least, most = zip(*[(min(d), max(d)) for d in draws], strict=True)
            panel.fill_between(counts, least, most, color=colour, alpha=0.15, lw=0)


def finish(panel, title: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel="labels", title=title)
    counts = sorted({x for line in panel.get_lines() for x in line.get_xdata()})
    panel.set_xticks(counts, labels=[str(count) for count in counts])
    panel.minorticks_off()
    low, high = panel.get_ylim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [tick for tick in TICKS_OF_SHORT_AXES if low <= tick <= high]
    panel.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    panel.grid(alpha=0.3)


if __name__ == "__main__":
    main()
