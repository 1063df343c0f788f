"""Outputs of DFT codes that a full disk cut or a copy damaged: named, and nothing is raised."""

import bz2
import gzip
import lzma
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from needed import needs_gpaw
from test_codes import OUTCAR, OUTPUTS, aims_output, vasprun

from entrove.formats import read_frames

COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def vasprun_of_steps() -> bytes:
    """Three steps, with numbers that do not compress to nothing."""
    rng = np.random.default_rng(2)
    return vasprun(bulk("Si"), rng.normal(size=(3, 3)).tolist()).encode()


OUTPUT_OF = {
    "OUTCAR": OUTCAR.read_bytes,
    "vasprun.xml": vasprun_of_steps,
    "espresso.out": (OUTPUTS / "espresso_md.out").read_bytes,
    "hybrid.out": (OUTPUTS / "espresso_hybrid_md.out").read_bytes,
    "cp2k.out": (OUTPUTS / "cp2k_md.out").read_bytes,
    "gpaw.txt": (OUTPUTS / "gpaw_md.txt").read_bytes,
    "aims.out": lambda: aims_output("md").encode(),
}
NAMES = [pytest.param(name, marks=needs_gpaw) if "gpaw" in name else name for name in OUTPUT_OF]


def read_quietly(path: Path) -> list:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE and NumPy warn of numbers that are damaged
        return list(read_frames(path))


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "md-pos-1.xyz").write_bytes((OUTPUTS / "md-pos-1.xyz").read_bytes())
    return tmp_path


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("name", NAMES)
def test_a_compressed_output_that_was_cut_is_named(folder, name, ending):
    content = COMPRESS[ending](OUTPUT_OF[name]())
    path = folder / f"{name}{ending}"
    for share in (0.05, 0.3, 0.6, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        frames = read_quietly(path)
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert any(frame.problem for frame in frames)


@pytest.mark.parametrize("ending", ["", *COMPRESS])
@pytest.mark.parametrize("name", NAMES)
def test_no_flipped_byte_stops_the_reading(folder, name, ending):
    rng = np.random.default_rng(5)
    content = OUTPUT_OF[name]()
    content = COMPRESS[ending](content) if ending else content
    path = folder / f"{name}{ending}"
    for n_flipped in (1, 1, 1, 1, 1, 1, 30, 30, 300, 300):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=n_flipped):
            damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        frames = read_quietly(path)
        assert [frame.index for frame in frames] == list(range(len(frames)))


@pytest.mark.parametrize("value", ["****", "nan", "-", ""])
def test_a_setting_of_vasprun_that_is_no_number_is_named(tmp_path, value):
    text = vasprun(bulk("Si"), [[-1.0, -2.0]]).replace(
        'name="EDIFF"> 1e-05', f'name="EDIFF">{value}'
    )
    path = tmp_path / "vasprun.xml"
    path.write_text(text)
    (frame,) = read_frames(path)
    if value:
        assert f"EDIFF is '{value}'" in frame.problem
    else:
        assert not frame.problem


def test_an_energy_of_vasprun_that_did_not_fit_breaks_its_step_only(tmp_path):
    text = vasprun(bulk("Si"), [[-1.0, -2.0], [-7.5, -8.5], [-1.0, -2.0]])
    path = tmp_path / "vasprun.xml"
    path.write_text(text.replace('"e_fr_energy">-7.5', '"e_fr_energy">*****'))
    frames = list(read_frames(path))
    assert [bool(frame.problem) for frame in frames] == [False, True, False]
    assert "*****" in frames[1].problem


def test_a_damaged_output_leaves_the_others_of_its_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    content = gzip.compress(OUTCAR.read_bytes())
    (tmp_path / "a" / "OUTCAR.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "b" / "vasprun.xml").write_bytes(vasprun_of_steps())
    frames = read_quietly(tmp_path)
    assert [Path(frame.source).name for frame in frames if not frame.problem][-3:] == [
        "vasprun.xml"
    ] * 3
