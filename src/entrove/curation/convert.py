"""Convert labelled structures from any format to any other, without loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from entrove.counts import format_count
from entrove.curation.drawing import lines_of_text
from entrove.curation.sources import SHOWN_REASONS, Paths, RefusedFrame, UsableFrames, several
from entrove.errors import StructureError
from entrove.files import refuse_overwriting
from entrove.formats import LabelKeys, write_frames


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    `written` counts structures, `refused` are the frames that were left out with the reason,
    `notes` what was done with conventions and in how many frames, and `lost` what the format has
    no place for.
    """

    target: str
    written: int
    refused: tuple[RefusedFrame, ...] = ()
    notes: tuple[tuple[str, int], ...] = ()
    lost: tuple[str, ...] = ()

    def summary(self) -> list[str]:
        """Say what was written, how conventions were converted, and what is missing."""
        lines = [f"wrote {format_count(self.written, 'structure')} to {self.target}"]
        lines += [
            f"  {note}" + ("" if count == self.written else f" ({format_count(count, 'frame')})")
            for note, count in self.notes
        ]
        if self.lost:
            lines.append(f"the format has no place for: {', '.join(self.lost)}")
        if self.refused:
            lines.append(f"left out {format_count(len(self.refused), 'frame')}:")
            lines += [f"  {frame}" for frame in self.refused[:SHOWN_REASONS]]
            if len(self.refused) > SHOWN_REASONS:
                lines.append(f"  and {len(self.refused) - SHOWN_REASONS} more")
        return lines

    def to_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {
            "out": self.target,
            "written": self.written,
            "refused": [str(frame) for frame in self.refused],
            "notes": dict(self.notes),
            "lost": list(self.lost),
        }

    def _repr_html_(self) -> str:
        return lines_of_text(self.summary())


def convert(
    sources: Paths,
    target: str | Path,
    *,
    keys: LabelKeys | None = None,
    format_name: str | None = None,
) -> Conversion:
    """Write the structures of some files, with their labels, to another format.

    Args:
        sources: Files or folders that `entrove.formats.read_frames` reads.
        target: The file, or for DeePMD the new folder, to write.
        keys: Names of labels in the sources to take instead of the usual ones.
        format_name: One of `entrove.formats.FORMATS`; by the name of the target by default.

    Returns what was done. Broken and unconverged frames are left out and named.
    Raises `StructureError` when no frame is left, no frame has a label that is named, or a
    structure does not fit the format, and `ConfigError` when the target is a source; the target
    then stays as it was.
    """
    paths = several(sources)
    refuse_overwriting([target], paths)
    frames = UsableFrames(paths, keys or LabelKeys())
    written = write_frames(target, _or_none(frames), format_name)
    return Conversion(
        target=str(target),
        written=written.count,
        refused=tuple(frames.refused),
        notes=tuple(frames.notes.most_common()),
        lost=written.lost,
    )


def _or_none(frames: UsableFrames) -> Iterator[Atoms]:
    for frame in frames:
        if frame.atoms is None:  # a frame with atoms is what `UsableFrames` promises
            raise StructureError(str(frame))
        yield frame.atoms
    if not frames.used:
        raise frames.nothing_left()
    frames.check_keys()
