"""Conversion leaves out what did not converge, and says everything it did."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from entrove.cli.main import app
from entrove.curation import convert
from entrove.errors import StructureError
from entrove.formats import FORMATS, LabelKeys, read_frames

VASP = Path(__file__).parents[1] / "labelling" / "engines" / "vasp_outputs"
LATTICE = 'Lattice="4 0 0 0 4 0 0 0 5"'
COLUMNS = "Properties=species:S:1:pos:R:3:{}:R:3"


def frame_text(keys: str, forces="forces") -> str:
    columns = COLUMNS.format(forces)
    return f"2\n{LATTICE} {columns} {keys}\nSi 0 0 0 0.1 0 0\nO 1 1 1 -0.1 0 0\n"


def test_unconverged_and_broken_frames_are_refused_and_named(tmp_path):
    source = tmp_path / "in.xyz"
    source.write_text(
        frame_text("energy=-1")
        + frame_text("energy=-2 converged=F")
        + frame_text("energy=?")
        + frame_text('energy=-3 Lattice="1 0 0 2 0 0 0 0 1"').replace(LATTICE + " ", "")
        + frame_text("energy=-4")
    )
    done = convert(source, tmp_path / "out.xyz")
    energies = [f.atoms.get_potential_energy() for f in read_frames(tmp_path / "out.xyz")]
    assert energies == [-1, -4]
    assert done.written == 2
    assert [frame.index for frame in done.refused] == [1, 2, 3]
    for frame, reason in zip(done.refused, ("converge", "'?'", "no volume"), strict=True):
        assert reason in str(frame)


@pytest.mark.parametrize(
    ("pbc", "kept"),
    [("T T T", False), ("F F T", False), ("T F T", False), ("T T F", True), ("F F F", True)],
)
def test_a_periodic_direction_needs_a_vector(tmp_path, pbc, kept):
    """Here the third vector has no length, as that of a slab may."""
    source = tmp_path / "in.xyz"
    source.write_text(
        f'1\nenergy=-1 Lattice="4 0 0 0 4 0 0 0 0" pbc="{pbc}"\nSi 0 0 0\n'
        '1\nenergy=-1 pbc="F F F"\nSi 0 0 0\n'
    )
    done = convert(source, tmp_path / "out.xyz")
    assert done.written == 1 + kept
    assert [frame.reason for frame in done.refused] == (
        [] if kept else ["periodic, but a cell vector of a periodic direction has no length"]
    )


def test_files_of_an_iterator_are_converted_as_those_of_a_list(tmp_path):
    sources = [tmp_path / "a.xyz", tmp_path / "b.xyz"]
    for source, energy in zip(sources, (-1, -2), strict=True):
        source.write_text(frame_text(f"energy={energy}"))
    assert convert(iter(sources), tmp_path / "iterator.xyz").written == 2
    convert(sources, tmp_path / "list.xyz")
    assert (tmp_path / "iterator.xyz").read_text() == (tmp_path / "list.xyz").read_text()


def test_a_file_without_usable_frames_leaves_no_target(tmp_path):
    (tmp_path / "in.xyz").write_text(frame_text("energy=-2 converged=F"))
    with pytest.raises(StructureError, match="none of 1 frames can be used"):
        convert(tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert not (tmp_path / "out.xyz").exists()


@pytest.mark.parametrize("format_name", FORMATS)
def test_command_converts_vasp_to_every_format_and_back(tmp_path, format_name):
    """Labels with the digits of vasprun.xml come back from every format."""
    suffix = {"ase-db": ".db", "deepmd-npy": "", "deepmd-raw": ""}.get(format_name, ".xyz")
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.xyz"
    for source, target, options in (
        (VASP / "vasprun.xml", there, ["--format", format_name]),
        (there, back, []),
    ):
        result = CliRunner().invoke(app, ["convert", str(source), str(target), *options])
        assert result.exit_code == 0, result.output
        assert "wrote 1 structure to" in result.output
    (given,), (found,) = read_frames(VASP / "vasprun.xml"), read_frames(back)
    assert (found.atoms.positions == given.atoms.positions).all()
    for name in ("energy", "forces"):
        assert np.array_equal(found.atoms.calc.results[name], given.atoms.calc.results[name])
    stress = given.atoms.get_stress()
    assert found.atoms.get_stress() == pytest.approx(stress, rel=1e-14, abs=1e-18)


def test_command_takes_the_keys_that_it_is_given(tmp_path):
    source, target = tmp_path / "in.xyz", tmp_path / "out.xyz"
    source.write_text(frame_text("energy=-1 REF_energy=-2", forces="my_forces"))
    arguments = ["convert", str(source), str(target)]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "energy is in doubt" in str(refused.exception)
    result = CliRunner().invoke(
        app, [*arguments, "--energy-key", "REF_energy", "--forces-key", "my_forces"]
    )
    assert "energy is REF_energy" in result.output
    (frame,) = read_frames(target)
    assert frame.atoms.get_potential_energy() == -2
    assert frame.atoms.get_forces()[0, 0] == 0.1


def test_several_files_become_one(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.xyz").write_text(frame_text("REF_energy=-1"))
    done = convert(
        [tmp_path / "a.xyz", tmp_path / "b.xyz"],
        tmp_path / "out.xyz",
        keys=LabelKeys(energy="REF_energy"),
    )
    assert done.written == 2
    assert dict(done.notes)["energy is REF_energy"] == 2
