"""Pick the frames of a pool that carry the information, and say what was left behind."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.curation.copying import Place, copy_frames
from entrove.curation.drawing import line_chart, lines_of_text, table
from entrove.curation.methods import AUTO, UNITS, Method, MethodOrAuto
from entrove.curation.picking import pick
from entrove.curation.sources import Paths, RefusedFrame, UsableFrames, several
from entrove.curation.ways import best_way
from entrove.errors import ConfigError, SelectionError
from entrove.files import refuse_overwriting, replace_text, replacing
from entrove.formats import Frame, LabelKeys
from entrove.formats.addresses import without_password
from entrove.formats.writing import require_xyz_name
from entrove.selection.result import Filter, Selection

SHOWN_PICKS = 10

_CURVES: dict[Method, str] = {
    "information": "what the picks add together",
    "target": "fall of the predicted variance",
    "representative": "fall of the squared discrepancy",
    "lcmd": "sum of distances",
    "farthest_point": "sum of distances",
}

_FILTER_WORDS = {
    Filter.COUNT.value: "that would come later",
    Filter.DUPLICATE.value: "equal to others",
    Filter.NEAR_DUPLICATE.value: "nearly equal to others",
    Filter.BUDGET.value: "beyond the budget",
}


@dataclass(frozen=True)
class Pick:
    """A picked frame: its file and index, what it added, in the unit of the method, and why."""

    source: str
    index: int
    gain: float
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A frame that was not picked: its file and index, which filter kept it out, and why."""

    source: str
    index: int
    filter: str
    reason: str


@dataclass(frozen=True, eq=False)
class Curation:
    """What was picked from a pool, best first, and what was not.

    `next_gains` are those of the picks that would follow, at most 100; `unit` is that of all
    gains. `error_before` is the predicted error on the pool before any pick, for "target": the
    root of the variance that the gains lower. `reason` says why method and features were chosen,
    where they were not asked for. `refused` are frames that cannot be used; they are neither
    picked nor left out. `notes` counts what was done with the conventions of labels, by text.
    """

    paths: tuple[str | Path, ...]
    keys: LabelKeys
    method: Method
    features: str
    picks: tuple[Pick, ...]
    left_out: tuple[LeftOut, ...] = field(repr=False)
    refused: tuple[RefusedFrame, ...] = field(repr=False)
    notes: tuple[tuple[str, int], ...]
    next_gains: Float[np.ndarray, " beyond"] = field(repr=False)
    given: int = 0
    reason: str = ""
    error_before: float | None = None
    given_paths: tuple[str | Path, ...] = ()

    @property
    def unit(self) -> str:
        """Unit of the gains."""
        return UNITS[self.method]

    @cached_property
    def gain_curve(self) -> Float[np.ndarray, " picks"]:
        """What the picks add together, after each of them."""
        return np.cumsum([pick.gain for pick in self.picks])

    def __len__(self) -> int:
        return len(self.picks)

    def summary(self) -> list[str]:
        """Say in a few lines what was picked, and what more of it would bring."""
        pool = len(self.picks) + len(self.left_out)
        beside = f" beside {self.given} given ones" if self.given else ""
        lines = [
            f"picked {len(self.picks)} of {pool} frames{beside}, method {self.method}, features "
            f"{self.features}"
        ]
        lines += [f"  because: {self.reason}"] if self.reason else []
        if self.method == "information":
            lines.append(
                f"together they add {self.gain_curve[-1]:.4g} {self.unit}, the first "
                f"{self.picks[0].gain:.3g}, the last {self.picks[-1].gain:.3g}"
            )
        if self.error_before is not None:
            lines.append(
                f"they are predicted to lower the error on the pool by "
                f"{100 * self._lowered(len(self.picks)):.0f} %, the first of them by "
                f"{100 * self._lowered(1):.0f} %"
            )
        if len(self.next_gains):
            lines += self._beyond()
        told = _told(frame.filter for frame in self.left_out)
        lines += [f"left out: {', '.join(told)}"] if told else []
        lines += [f"could not be used: {len(self.refused)}"] if self.refused else []
        return lines

    def _lowered(self, count: int) -> float:
        """Fraction by which some picks are predicted to lower the error on the pool."""
        gains = np.concatenate([[pick.gain for pick in self.picks], self.next_gains])
        before = self.error_before or 1.0
        return 1 - float(np.sqrt(max(before**2 - gains[:count].sum(), 0.0))) / before

    def _beyond(self) -> list[str]:
        following, total = len(self.next_gains), float(self.next_gains.sum())
        if self.method == "target":
            further = self._lowered(len(self.picks) + following)
            return [f"with the next {following} it would be lower by {100 * further:.0f} %"]
        if self.method in ("random", "representative"):
            return []
        if self.method in ("lcmd", "farthest_point"):
            # Only farthest points are chosen by their distance alone.
            farthest = self.method == "farthest_point"
            text = "no frame left out is further than" if farthest else "the next frame is"
            return [f"{text} {self.next_gains[0]:.3g} {self.unit} from the picks"]
        return [
            f"the next {following} would add {total:.4g} {self.unit}, the first of them "
            f"{self.next_gains[0]:.3g}"
        ]

    def _repr_html_(self) -> str:
        shown = lines_of_text(self.summary())
        if self.method != "random":
            shown += line_chart(self.gain_curve, _CURVES[self.method], "picks", self.unit)
        best = [
            (str(rank), pick_.source, str(pick_.index), pick_.reason)
            for rank, pick_ in enumerate(self.picks[:SHOWN_PICKS], start=1)
        ]
        shown += table(("", "file", "frame", "why"), best)
        more = len(self.picks) - len(best)
        return shown + (lines_of_text([f"and {more} more picks"]) if more else "")

    def write(self, out: str | Path, *, rest: bool = True) -> list[Path]:
        """Write the picks, and beside them what else is known.

        Args:
            out: The picks in extended XYZ, best first. Frames from XYZ files keep their text byte
                for byte. `out` with .rest.xyz, .csv and .json for its suffix are written, too:
                the frames left out, a line for each frame, and the gains.
            rest: Whether the file of the frames left out is wanted. Where none is written, that
                of earlier picks is removed: its frames may be among the present picks.

        Returns the files. Raises `ConfigError` when one of them was read, when a .rest.xyz would
        stay that no earlier picks came with, or when `out` has the name of another format.
        """
        out = Path(out)
        require_xyz_name(str(out), out, may_be_compressed=True)
        refuse_overwriting(written_beside(out), [*self.paths, *self.given_paths])
        files = {suffix: out.with_suffix(suffix) for suffix in (".csv", ".json")}
        rest_path = out.with_suffix(".rest.xyz")
        rest_file = rest_path if rest and self.left_out else None
        if rest_file is None:
            _require_of_earlier_picks(rest_path, files[".json"])
        kept = {(frame.source, frame.index) for frame in self.left_out}
        places = [(pick.source, pick.index) for pick in self.picks]
        copy_frames(self.paths, self.keys, places, out, kept.__contains__, rest_file)
        if rest_file is None:
            rest_path.unlink(missing_ok=True)
        with (
            replacing(files[".csv"]) as unfinished,
            # Names of files that are no UTF-8 are written as the bytes that they are.
            unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle,
        ):
            writer = csv.writer(handle)
            writer.writerow(["file", "frame", "picked", "gain", "filter", "reason"])
            writer.writerows(self._rows())
        replace_text(files[".json"], json.dumps(self.to_dict(), indent=1) + "\n")
        return [out, *([rest_file] if rest_file else []), *files.values()]

    def _rows(self) -> Iterator[list[object]]:
        for rank, pick_ in enumerate(self.picks, start=1):
            yield [pick_.source, pick_.index, rank, repr(pick_.gain), "", pick_.reason]
        for frame in self.left_out:
            yield [frame.source, frame.index, "", "", frame.filter, frame.reason]
        for frame in self.refused:
            yield [frame.source, frame.index, "", "", "refused", frame.reason]

    def to_dict(self) -> dict[str, object]:
        """Return what was picked, the gains and what was left out as JSON values."""
        return {
            "method": self.method,
            "features": self.features,
            "because": self.reason,
            "unit": self.unit,
            "pool": [without_password(str(path)) for path in self.paths],
            "given": self.given,
            "picked": [[pick.source, pick.index] for pick in self.picks],
            "gains": [pick.gain for pick in self.picks],
            "next_gains": self.next_gains.tolist(),
            "left_out": len(self.left_out),
            "refused": [str(frame) for frame in self.refused],
            "notes": dict(self.notes),
            "summary": self.summary(),
        }


def curate(
    pool: Paths,
    count: int,
    *,
    given: Paths | None = None,
    features: str = AUTO,
    model: str = "7net-0",
    method: MethodOrAuto = AUTO,
    cost_s: Callable[[Atoms], float] | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    keys: LabelKeys | None = None,
    progress: Callable[[str], None] | None = None,
) -> Curation:
    """Pick the `count` frames of a pool that add most to each other and to what is given.

    Args:
        pool: Files or folders with structures, labelled or not.
        count: Frames to pick.
        given: Files with structures that are there already: what they hold is not picked again.
        features: "fingerprint", "model" for the last layer of `model`, "gradients" for those of
            its energy by all its weights, or "auto": for "representative" the last layer and for
            "target" the gradients where the model has them, knows all elements and is fast
            enough, otherwise fingerprints.
        model: A name or file that `entrove.models.load` knows.
        method: "representative" (atomic environments distributed as in the pool: the smallest
            errors), "target" (what labels teach a model that is linear in the features, low
            energies above all), "information" (never worse than 1 - 1/e of the best set, needs no
            model and no energies, and streams the pool), "lcmd", "farthest_point", "random", or
            "auto": "representative" where that is predicted to take at most 20 minutes, otherwise
            "information".
        cost_s: Predicted seconds of a label, for the budget.
        budget_s: Most seconds that the labels of the picks may take together.
        seed: Of the method "random".
        keys: Names of labels in the files instead of the usual ones.
        progress: Called with method, features and predicted time, once they are known.

    Returns a `Curation`. Frames that cannot be used are left out and named.
    Raises `SelectionError` when fewer than `count` frames can be used, and `StructureError` for
    files without any.
    """
    if (budget_s is None) != (cost_s is None):
        raise SelectionError(
            "a budget in seconds needs the seconds of a label, and the other way round; give "
            "both budget_s and cost_s"
        )
    paths = _distinct(several(pool))
    frames = UsableFrames(paths, keys or LabelKeys(), for_features=True)
    given_paths = () if given is None else several(given)
    known = (
        []
        if given is None
        else _structures(UsableFrames(given_paths, keys or LabelKeys(), for_features=True))
    )
    places: list[Place] = []
    candidates, way = best_way(_streamed(frames, places), count, method, features, model)
    if progress is not None:
        progress(str(way))
    chosen = pick(
        candidates,
        count,
        known,
        way,
        cost_s=cost_s,
        budget_s=budget_s,
        seed=seed,
    )
    if not len(chosen.indices[:count]):
        raise SelectionError(
            f"nothing can be picked: of {len(places)} frames "
            + (", ".join(_counted(chosen)) or "none is left")
            + "; give other frames, or none of them in what is given"
        )
    return Curation(
        paths=paths,
        keys=frames.keys,
        method=way.method,
        features=way.features_name,
        picks=_picks(chosen, count, places, way.method, given=len(known)),
        left_out=_left_out(chosen, count, places),
        refused=tuple(frames.refused),
        notes=tuple(frames.notes.most_common()),
        next_gains=np.asarray(chosen.gains[count:], dtype=float),
        given=len(known),
        given_paths=given_paths,
        reason=way.reason,
        error_before=None
        if chosen.target_variance is None
        else float(np.sqrt(chosen.target_variance[0])),
    )


def written_beside(out: Path) -> list[Path]:
    """List the files that `Curation.write` may write."""
    return [out, *(out.with_suffix(suffix) for suffix in (".rest.xyz", ".csv", ".json"))]


def _require_of_earlier_picks(rest_file: Path, json_file: Path) -> None:
    """Raise `ConfigError` when there are frames left out that `Curation.write` has not written."""
    if not rest_file.exists():
        return
    try:
        earlier = json.loads(json_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict) or not {"picked", "left_out"} <= earlier.keys():
        raise ConfigError(
            f"{rest_file} is there and would be taken for the frames left out; {json_file.name} "
            "does not say that it came with earlier picks; move it away, "
            "or write to another file"
        )


def _counted(chosen: Selection) -> list[str]:
    return _told(rejection.filter.value for rejection in chosen.rejected)


def _told(filters: Iterable[str]) -> list[str]:
    """How many were left out by each filter, in words."""
    counts = Counter(filters)
    return [f"{number} {_FILTER_WORDS.get(name, name)}" for name, number in counts.items()]


def seconds_per_label(of_ten_atoms_s: float) -> Callable[[Atoms], float]:
    """Return the predicted seconds of labels, from those of a structure of ten atoms.

    They grow with the number of atoms to the power of 1.5, as plane-wave DFT of small cells does.
    """
    return lambda atoms: of_ten_atoms_s * (len(atoms) / 10) ** 1.5


def _distinct(paths: tuple[str | Path, ...]) -> tuple[str | Path, ...]:
    resolved = [Path(path).resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise SelectionError("a file of the pool is given twice; give each once")
    return paths


def _streamed(frames: UsableFrames, places: list[Place]) -> Iterator[Atoms]:
    """The structures of usable frames; where they came from is appended to `places`."""
    for frame in frames:
        places.append((frame.source, frame.index))
        yield _atoms(frame)
    if not places:
        raise frames.nothing_left()
    frames.check_keys()


def _structures(frames: UsableFrames) -> list[Atoms]:
    structures = [_atoms(frame) for frame in frames]
    if not structures:
        raise frames.nothing_left()
    return structures


def _atoms(frame: Frame) -> Atoms:
    if frame.atoms is None:
        raise SelectionError(f"{frame.where}: {frame.problem}")
    return frame.atoms


def _picks(
    chosen: Selection, count: int, places: list[Place], method: Method, *, given: int
) -> tuple[Pick, ...]:
    picks: list[Pick] = []
    for rank, (position, gain) in enumerate(
        zip(chosen.indices[:count].tolist(), chosen.gains[:count].tolist(), strict=True)
    ):
        source, index = places[position]
        picks.append(Pick(source, index, gain, _reason(method, gain, rank, given)))
    return tuple(picks)


def _reason(method: Method, gain: float, before: int, given: int) -> str:
    """Say what a pick added to what was there before it."""
    if method == "random":
        return "drawn"
    amount = f"{gain:.4g} {UNITS[method]}"
    there = [f"the {given} given ones"] if given else []
    there += [f"the {before} picks before it" if before > 1 else "the pick before it"] * bool(
        before
    )
    if method in ("lcmd", "farthest_point"):
        return f"{amount} from {' and '.join(there) or 'the mean of the pool'}"
    if method == "target":
        lowers = f"lowers the predicted variance by {gain:.4g}"
        return lowers + (f", beside {' and '.join(there)}" if there else "")
    if method == "representative":
        return f"brings the picks nearer to the pool by {amount}"
    return f"adds {amount}" + (f" to {' and '.join(there)}" if there else "")


def _left_out(chosen: Selection, count: int, places: list[Place]) -> tuple[LeftOut, ...]:
    """Rejected candidates and picks beyond `count`, in the order of the files."""
    reasons = {
        rejection.index: (rejection.filter.value, _named(rejection.detail, places))
        for rejection in chosen.rejected
    }
    for place, position in enumerate(chosen.indices[count:].tolist(), start=count + 1):
        reasons[position] = (Filter.COUNT.value, f"pick {place}, but {count} were asked for")
    return tuple(LeftOut(*places[position], *reasons[position]) for position in sorted(reasons))


def _named(detail: str, places: list[Place]) -> str:
    """Replace the position of a candidate in the pool by its file and frame."""
    before, word, after = detail.partition("candidate ")
    number = after.split(",")[0].split(" ")[0]
    if not word or not number.isdigit():
        return detail
    source, index = places[int(number)]
    return f"{before}{source}: frame {index}{after[len(number) :]}"
