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
    "silicon": ("three-draws.json", "one-draw.json"),
    "sodium_chloride": ("three-draws.json",),
}
ARMS = {
    "random_md": ("random MD", "#666666"),
    "random_pool": ("random from the pools", "#c98a00"),
    "ours": ("representative", "#1464b4"),
    "target": ("target", "#2a9d5c"),
    "information": ("information", "#b05fc4"),
    "paper": ("the paper's entropy", "#c0392b"),
}
QUANTITIES = (
    ("energy", "energy, meV/atom"),
    ("force", "forces, meV/Å"),
    ("stress", "stress, meV/Å³"),
)
TICKS = (0.3, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 60, 80, 100, 200)


def main() -> None:
    """Draw a row of panels for each system."""
    figure, rows = plt.subplots(len(SYSTEMS), 3, figsize=(10, 6.4), constrained_layout=True)
    for panels, (system, files) in zip(rows, SYSTEMS.items(), strict=True):
        for file in files:
            draw_file(panels, HERE / system / "results" / file)
        for panel, (_, title) in zip(panels, QUANTITIES, strict=True):
            finish(panel, f"{system.replace('_', ' ')}: {title}")
    handles = {
        label: handle
        for handle, label in zip(*rows[0][0].get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.savefig(HERE.parents[1] / "docs" / "images" / "curves.png", dpi=110)


def draw_file(panels, file: Path) -> None:
    """Draw the means of the arms of a study; with several draws their range, too."""
    points = [
        point
        for point in read_study(file).points
        if (point.student, point.test, point.errors.group) == (STUDENT, TEST, "all")
    ]
    for arm, (label, colour) in ARMS.items():
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
            if not draws or (len(draws[0]) == 1 and arm in ("random_md", "random_pool", "ours")):
                continue  # what one draw gives for these is in the means of three
            several = len(draws[0]) > 1
            panel.plot(
                counts,
                [np.mean(of_count) for of_count in draws],
                "o-" if several else ".--",
                color=colour,
                label=label if several else f"{label} (one draw)",
            )
            if several:
                least, most = zip(*[(min(d), max(d)) for d in draws], strict=True)
                panel.fill_between(counts, least, most, color=colour, alpha=0.15, lw=0)


def finish(panel, title: str) -> None:
    panel.set(xscale="log", yscale="log", xlabel="labels", title=title)
    counts = sorted({x for line in panel.get_lines() for x in line.get_xdata()})
    panel.set_xticks(counts, labels=[str(count) for count in counts])
    panel.minorticks_off()
    low, high = panel.get_ylim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    panel.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    panel.grid(alpha=0.3)


if __name__ == "__main__":
    main()
