"""Print the tables of a study's results for a page: energy, forces, stress of each arm and count.

cd benchmarks/curves; python summarise.py silicon/results/one-draw.json --test independent
"""

import argparse
from pathlib import Path

import numpy as np

from entrove.curves import read_study
from entrove.curves.results import Point, StudyResults

QUANTITIES = (("energy", 1), ("force", 0), ("stress", 1))


def main() -> None:
    """Print one table per student and group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--test", default="independent")
    parser.add_argument("--groups", nargs="+", default=["all", "lowest quarter"])
    parser.add_argument("--over", help="an arm whose errors are divided by those of the others")
    parser.add_argument(
        "--equal-cost", action="store_true", help="ratios to the control arm at equal engine time"
    )
    arguments = parser.parse_args()
    results = read_study(arguments.results)
    points = [p for p in results.points if p.test == arguments.test]
    for student in dict.fromkeys(point.student for point in points):
        for group in arguments.groups:
            chosen = [p for p in points if p.student == student and p.errors.group == group]
            counts = sorted({point.labels for point in chosen})
            print(f"\n{student}, {group}: energy, forces, stress in meV/atom, meV/A, meV/A^3\n")
            print("| arm | " + " | ".join(f"{count} labels" for count in counts) + " |")
            print("|---" * (len(counts) + 1) + "|")
            for arm in dict.fromkeys(point.arm for point in chosen):
                cells = []
                for count in counts:
                    found = [p.errors for p in chosen if (p.arm, p.labels) == (arm, count)]
                    cells.append(
                        ", ".join(
                            f"{np.mean([getattr(e, name) for e in found]):.{decimals}f}"
                            for name, decimals in QUANTITIES
                        )
                        if found
                        else "-"
                    )
                print(f"| {arm} | " + " | ".join(cells) + " |")
            if arguments.over:
                print_ratios(chosen, arguments.over, counts)
            if arguments.equal_cost:
                print_at_equal_cost(results, student, arguments.test, group)


def print_at_equal_cost(results: StudyResults, student: str, test: str, group: str) -> None:
    """Print ratios to the control arm at equal engine time: geometric means over draws."""
    print(f"\n{results.control} with labels of equal engine time / arm\n")
    for arm in results.arms(student):
        found = {
            quantity: results.ratios_at_equal_cost(student, arm, test, group, quantity)
            for quantity, _ in QUANTITIES
        }
        for count in found["energy"] if arm != results.control else ():
            cells = [
                f"{of_count[count].value:.2f}" if count in of_count else "-"
                for of_count in found.values()
            ]
            print(f"{arm}, {count} labels: {', '.join(cells)}")


def print_ratios(chosen: list[Point], over: str, counts: list[int]) -> None:
    """Print errors of `over` divided by those of each arm: of the means, and least to most."""
    print(f"\n{over} / arm of the means over draws (least to most of a draw)\n")
    print("| arm | " + " | ".join(f"{count} labels" for count in counts) + " |")
    print("|---" * (len(counts) + 1) + "|")
    for arm in dict.fromkeys(point.arm for point in chosen if point.arm != over):
        cells = []
        for count in counts:
            errors = {
                name: np.array(
                    [
                        [getattr(p.errors, quantity) for quantity, _ in QUANTITIES]
                        for p in sorted(chosen, key=lambda p: p.draw)
                        if (p.arm, p.labels) == (name, count)
                    ]
                )
                for name in (over, arm)
            }
            if not len(errors[arm]) or len(errors[arm]) != len(errors[over]):
                cells.append("-")
                continue
            means = errors[over].mean(0) / errors[arm].mean(0)
            each = errors[over] / errors[arm]
            cells.append(
                ", ".join(
                    f"{mean:.2f} ({least:.2f}-{most:.2f})"
                    for mean, least, most in zip(means, each.min(0), each.max(0), strict=True)
                )
            )
        print(f"| {arm} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
