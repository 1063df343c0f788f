"""Copy frames from their files as they are there, byte for byte where they are extended XYZ."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path

from entrove.errors import StructureError
from entrove.files import replacing
from entrove.formats import LabelKeys, read_frames
from entrove.formats.reading import is_xyz
from entrove.formats.xyz_blocks import iterate_xyz_blocks, open_text
from entrove.formats.xyz_writer import xyz_text

logger = logging.getLogger(__name__)

Place = tuple[str, int]
"""A frame: its source and its index there."""


def texts_of(paths: Sequence[str | Path], keys: LabelKeys) -> Iterator[tuple[Place, str]]:
    """Yield every readable frame with its text in extended XYZ.

    Frames of XYZ files have the text that they have there; others are written with every digit,
    and a warning names what the format has no place for.
    """
    lost: set[str] = set()
    for path in paths:
        if Path(path).is_file() and is_xyz(path):
            source = str(Path(path))  # as frames name it: "./pool.xyz" is "pool.xyz"
            for block in iterate_xyz_blocks(path):
                text = "".join(block.lines)
                yield (source, block.index), text if text.endswith("\n") else text + "\n"
            continue
        for frame in read_frames(path, keys):
            if frame.atoms is not None:
                yield (frame.source, frame.index), xyz_text(frame.atoms, lost=lost)
    if lost:
        logger.warning("extended XYZ has no place for: %s", ", ".join(sorted(lost)))


def copy_frames(
    paths: Sequence[str | Path],
    keys: LabelKeys,
    picked: Sequence[Place],
    picked_file: Path,
    is_rest: Callable[[Place], bool],
    rest_file: Path | None,
) -> None:
    """Write the picked frames in their order, and the rest in that of the files.

    Raises `StructureError` when a picked frame is not in the files any more; nothing is written.
    """
    rank = {place: number for number, place in enumerate(picked)}
    texts = [""] * len(picked)
    with ExitStack() as stack:
        rest = None if rest_file is None else _opened(stack, rest_file)
        for place, text in texts_of(paths, keys):
            if place in rank:
                texts[rank[place]] = text
            elif rest is not None and is_rest(place):
                rest.write(text)
        for (source, index), text in zip(picked, texts, strict=True):
            if not text:
                raise StructureError(
                    f"{source}: frame {index} was picked and cannot be found any more; the file "
                    "has changed meanwhile: pick again"
                )
        _opened(stack, picked_file).writelines(texts)


def _opened(stack: ExitStack, path: Path) -> TextIOWrapper:
    unfinished = stack.enter_context(replacing(path))
    return stack.enter_context(open_text(unfinished, "wt"))
