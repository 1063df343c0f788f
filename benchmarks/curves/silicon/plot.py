"""Draw docs/images/curves-silicon.png: errors against labels, with the range of the draws.

python benchmarks/curves/silicon/plot.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from entrove.curves import read_study

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
STUDENT, TEST = "soap", "independent"
DRAWN_THRICE = {
    "random_md": ("random MD", "#666666"),
    "random_pool": ("random from the pools", "#c98a00"),
    "ours": ("representative", "#1464b4"),
}
DRAWN_ONCE = {
    "target_without_bias": ("target, plain walkers", "#2a9d5c"),
    "information": ("information", "#b05fc4"),
    "paper": ("the paper's entropy", "#c0392b"),
}
QUANTITIES = (
    ("energy", "energy, meV/atom"),
    ("force", "forces, meV/Å"),
    ("stress", "stress, meV/Å³"),
)


def main() -> None:
    """Read both results and draw the three panels."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), constrained_layout=True)
    for file, arms in (("three-draws.json", DRAWN_THRICE), ("one-draw.json", DRAWN_ONCE)):
        points = [
            point
            for point in read_study(HERE / "results" / file).points
            if (point.student, point.test, point.errors.group) == (STUDENT, TEST, "all")
        ]
        for arm, (label, colour) in arms.items():
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
    for panel, (_, title) in zip(panels, QUANTITIES, strict=True):
        panel.set(xscale="log", yscale="log", xlabel="labels", title=title)
        panel.set_xticks([25, 50, 100, 200], labels=["25", "50", "100", "200"])
        panel.minorticks_off()
        low, high = panel.get_ylim()
        ticks = [t for t in (4, 6, 10, 15, 25, 40, 60, 80, 100, 125) if low <= t <= high]
        panel.set_yticks(ticks, labels=[str(t) for t in ticks])
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(HERE.parents[2] / "docs" / "images" / "curves-silicon.png", dpi=110)


if __name__ == "__main__":
    main()
