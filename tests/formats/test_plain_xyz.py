"""Plain XYZ, whose second line is any text: ORCA, xtb, CP2K and others write theirs there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrove.formats import LabelKeys, read_frames, write_frames
from entrove.formats.extxyz import parse_block
from entrove.formats.xyz_blocks import XyzBlock
from entrove.formats.xyz_comment import is_plain_text

OUTPUTS = Path(__file__).parent / "outputs"
ROWS = "O 0 0 0\nH 0 0 1\nH 0 1 0\n"
WORDS = st.sampled_from(
    ["E", "F", "energy", "energy:", "DFT", "stress", "virial", "Lattice", "pbc", "Properties"]
)


def plain(comment: str) -> XyzBlock:
    return XyzBlock(0, 1, 3, ["3\n", f"{comment}\n", *ROWS.splitlines(keepends=True)])


def text_without(letters: str) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_characters=f"\n{letters}", exclude_categories=()))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(text_without("=") | WORDS).map(" ".join))
def test_any_comment_without_a_pair_gives_the_structure_and_no_label(comment):
    frame = parse_block(plain(comment), "a.xyz", LabelKeys())
    assert frame.problem == ""
    assert str(frame.atoms.symbols) == "OH2"
    assert not frame.atoms.pbc.any()
    assert frame.labels == ()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(text_without("") | WORDS | st.just("=")).map(" ".join))
def test_only_a_wrong_value_of_a_label_or_of_the_format_refuses_a_comment(comment):
    frame = parse_block(plain(comment), "a.xyz", LabelKeys())
    if frame.problem:
        assert "=" in comment
        assert "cannot be read" not in frame.problem or not is_plain_text(comment)


COMMENTS = [
    "Coordinates from ORCA-job water E -76.323455",
    " energy: -5.070544440612 gnorm: 0.000057843 xtb: 6.4.1 (23d549d)",
    "DFT energy minimised",
    "Lattice parameters and Properties, pbc and stress",
    "F",
    "Bob's water",
    "rotamer {R1 of it's",
    "",
]


@pytest.mark.parametrize("comment", COMMENTS)
def test_comments_of_programs_and_people_are_read_and_come_back(tmp_path, comment):
    path = tmp_path / "a.xyz"
    path.write_text(f"3\n{comment}\n{ROWS}" * 2)
    frames = list(read_frames(path))
    assert [frame.problem for frame in frames] == ["", ""]
    assert [frame.labels for frame in frames] == [(), ()]
    write_frames(tmp_path / "again.xyz", frames)
    again = list(read_frames(tmp_path / "again.xyz"))
    assert [frame.atoms.info for frame in again] == [frame.atoms.info for frame in frames]
    assert not any(frame.labels for frame in again)


def test_a_comment_that_is_no_list_of_pairs_is_kept_as_text():
    frame = parse_block(plain("Bob's water, energy=-1.5"), "a.xyz", LabelKeys())
    assert frame.atoms.info == {"comment": "Bob's water, energy=-1.5"}
    assert any("no list of key=value" in note for note in frame.notes)


def test_a_pair_counts_where_its_key_stands_alone_elsewhere():
    frame = parse_block(plain("energy E=-1.5 energy final"), "a.xyz", LabelKeys())
    assert frame.atoms.get_potential_energy() == -1.5
    assert frame.atoms.info == {"final": True}


def test_a_broken_comment_of_the_extended_format_is_still_named():
    frame = parse_block(plain('pbc="F F F" name=\'never closed'), "a.xyz", LabelKeys())
    assert "comment cannot be read" in frame.problem


def test_a_trajectory_of_cp2k_alone_has_no_energy_in_hartree(tmp_path):
    """Its energies are in hartree, and the cell that they belong to is in the output."""
    path = OUTPUTS / "md-pos-1.xyz"
    frames = list(read_frames(path))
    energies_Ha = [
        float(line.split("=")[-1]) for line in path.read_text().splitlines() if " i = " in line
    ]
    assert len(frames) == len(energies_Ha) > 1
    for frame, energy_Ha in zip(frames, energies_Ha, strict=True):
        assert frame.labels == ()
        assert frame.atoms.info["E_hartree"] == energy_Ha
        assert any("hartree" in note for note in frame.notes)
    write_frames(tmp_path / "again.xyz", frames)
    assert [frame.labels for frame in read_frames(tmp_path / "again.xyz")] == [()] * len(frames)


@pytest.mark.parametrize("comment", ["i=3 E=-1.5", "time=0.5 E=-1.5", "i=3 time=0.5 E=-1.5 a=b"])
def test_an_energy_beside_other_keys_is_in_eV(comment):
    frame = parse_block(plain(comment), "a.xyz", LabelKeys())
    assert frame.atoms.get_potential_energy() == -1.5


def test_exponents_of_fortran_are_read():
    rows = ["O 0.0 0.0 1.0D-01\n", "H 0.0d0 0.0 1.5D+00\n", "H 0.0 -2.0D0 0.0\n"]
    frame = parse_block(XyzBlock(0, 1, 3, ["3\n", "\n", *rows]), "a.xyz", LabelKeys())
    assert frame.problem == ""
    assert np.array_equal(frame.atoms.positions, [[0, 0, 0.1], [0, 0, 1.5], [0, -2, 0]])


@pytest.mark.parametrize(("text", "expected"), [("1_2", "1_2"), ("-1_0.5", "-1_0.5")])
def test_an_underscore_makes_a_text(text, expected):
    frame = parse_block(plain(f"config_type={text} tags='{text} 3'"), "a.xyz", LabelKeys())
    assert frame.atoms.info == {"config_type": expected, "tags": f"{expected} 3"}
    assert "energy is" in parse_block(plain(f"energy={text}"), "a.xyz", LabelKeys()).problem
