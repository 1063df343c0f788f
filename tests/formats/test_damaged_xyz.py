"""Damage of any kind to one frame: nothing is raised, and all others but a neighbour are read."""

import numpy as np
import pytest

from entrove.formats import read_frames

N_FRAMES = 5


def frame_text(number: int, rng: np.random.Generator) -> str:
    n_atoms = int(rng.integers(1, 5))
    head = f'{n_atoms}\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 '
    rows = "".join(
        "Si " + " ".join(f"{value:.6f}" for value in rng.normal(size=6)) + "\n"
        for _ in range(n_atoms)
    )
    return f'{head}energy=-{number}.5 pbc="T T T"\n{rows}'


def damaged(text: str, rng: np.random.Generator) -> str:
    """A line lost, doubled or cut, letters changed, or a piece cut out."""
    lines = text.splitlines(keepends=True)
    place = int(rng.integers(len(lines)))
    kind = int(rng.integers(6))
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[place])
    elif kind == 2:
        lines[place] = lines[place][: int(rng.integers(len(lines[place])))] + "\n"
    elif kind == 3:
        letters = list(text)
        for at in rng.integers(len(letters), size=3):
            letters[at] = chr(int(rng.integers(1, 255)))
        return "".join(letters)
    elif kind == 4:
        begin, end = sorted(rng.integers(len(text) + 1, size=2).tolist())
        return text[:begin] + text[end:]
    else:
        lines[place] = "".join(rng.permutation(list(lines[place].strip()))) + "\n"
    return "".join(lines)


@pytest.mark.parametrize("seed", range(400))
def test_one_damaged_frame_leaves_the_others(tmp_path, seed):
    """A frame that lost its last line end, or its first lines, may take a neighbour with it."""
    rng = np.random.default_rng(seed)
    texts = [frame_text(number, rng) for number in range(N_FRAMES)]
    place = int(rng.integers(N_FRAMES))
    head = "".join(texts[place].splitlines(keepends=True)[:2])
    path = tmp_path / "frames.xyz"
    texts[place] = damaged(texts[place], rng)
    path.write_bytes("".join(texts).encode())
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    read = {f.atoms.get_potential_energy() for f in frames if f.atoms and "energy" in f.labels}
    lost = [number for number in range(N_FRAMES) if -number - 0.5 not in read]
    assert set(lost) <= {place - 1, place, place + 1}
    assert len(lost) <= 2
    if texts[place].startswith(head) and texts[place].endswith("\n"):
        assert set(lost) <= {place}
