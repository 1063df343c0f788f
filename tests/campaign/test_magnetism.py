"""Magnetic elements are asked about, and moments of a seed start the labels of its structures."""

import json

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from cheap_campaign import SETTINGS, Labels, make_bench
from entrove.campaign.configuration.check import CheckedCampaign, Seed, read_campaign
from entrove.campaign.configuration.template import write_starting_point
from entrove.campaign.journal.progress import Silence
from entrove.campaign.loop import explore_only
from entrove.errors import CampaignError, ConfigError
from entrove.labelling.attempt import Attempt
from entrove.labelling.engines.base import with_moments, without_moments
from entrove.structures import canonical_order, content_hash, read_structures


def antiferromagnet() -> Atoms:
    iron = bulk("Fe", a=2.87, cubic=True)
    iron.set_initial_magnetic_moments([2.2, -2.2])
    return iron


def campaign(folder, atoms: Atoms, engine: dict, **regime):
    write(folder / "seed.xyz", atoms)
    given = {
        "name": "iron",
        "seeds": [{"phase": "bcc", "file": "seed.xyz"}],
        "regime": regime,
        "labelling": {"engine": engine},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(given))
    return read_campaign(folder / "c.yaml")


@pytest.mark.parametrize("symbol", ["Cr", "Mn", "Fe", "Co", "Ni"])
def test_a_magnetic_element_is_asked_about(tmp_path, symbol):
    metal = bulk(symbol, "fcc", a=3.6, cubic=True)
    with pytest.raises(ConfigError, match=rf"{symbol} can be magnetic.*non_magnetic: true"):
        campaign(tmp_path, metal, {"name": "gpaw"})
    campaign(tmp_path, metal, {"name": "gpaw"}, non_magnetic=True)
    spin = {"name": "gpaw", "spin_polarised": True, "magnetic_moments": {symbol: 2.0}}
    campaign(tmp_path, metal, spin)


def test_so_are_oxides_and_moments_of_other_elements(tmp_path):
    with pytest.raises(ConfigError, match=r"Fe can be magnetic, .*magnetic_moments: \{Fe: 3\}"):
        campaign(tmp_path, bulk("FeO", "rocksalt", a=4.3, cubic=True), {"name": "gpaw"})
    copper = bulk("Cu", cubic=True)
    campaign(tmp_path, copper, {"name": "gpaw"})
    copper.set_initial_magnetic_moments([0.5, 0, 0, 0.4])
    with pytest.raises(ConfigError, match=r"magnetic_moments: \{Cu: 0\.5\}"):
        campaign(tmp_path, copper, {"name": "gpaw"})


def test_moments_of_atoms_need_an_engine_that_takes_them(tmp_path):
    espresso = {
        "name": "espresso",
        "command": "true",
        "pseudopotential_folder": str(tmp_path),
        "pseudopotentials": {"Fe": "Fe.upf"},
        "cutoff_eV": 400,
        "starting_magnetization": {"Fe": 0.5},
    }
    (tmp_path / "Fe.upf").write_text("pseudopotential")
    with pytest.raises(ConfigError, match=r"antiferromagnet, but espresso starts from one per el"):
        campaign(tmp_path, antiferromagnet(), espresso)
    ferromagnet = antiferromagnet()
    ferromagnet.set_initial_magnetic_moments([2.2, 2.2])
    campaign(tmp_path, ferromagnet, espresso)


def test_one_crystal_in_two_magnetic_states_is_refused(tmp_path):
    """Labels are known by positions: the label of one state would be taken for the other."""
    write(tmp_path / "afm.xyz", antiferromagnet())
    write(tmp_path / "none.xyz", bulk("Fe", a=2.87, cubic=True))
    files = [tmp_path / "afm.xyz", tmp_path / "none.xyz"]
    path = write_starting_point(tmp_path / "new", files)
    with pytest.raises(ConfigError, match="afm and none are one crystal with different magnetic"):
        read_campaign(path)


def test_init_writes_labels_with_spin(tmp_path):
    write(tmp_path / "afm.xyz", antiferromagnet())
    config, [seed] = read_campaign(write_starting_point(tmp_path / "new", [tmp_path / "afm.xyz"]))
    engine = config.labelling.engine.model_dump()
    assert engine["spin_polarised"]
    assert engine["magnetic_moments"] == {"Fe": 2.2}
    assert seed.atoms.get_initial_magnetic_moments().tolist() == [2.2, -2.2]


# From the seed into the engine.


def test_every_label_of_a_phase_starts_from_the_moments_of_its_seed(tmp_path, monkeypatch):
    """Atom by atom, whatever order the engine is given the atoms in."""
    moments = np.array([1.0, -1.0, 0.5, -0.25])
    seed = bulk("Cu", cubic=True)
    seed.set_initial_magnetic_moments(moments)
    started: dict[str, Atoms] = {}

    class Watched(Labels):
        def calculate(self, atoms=None, *arguments, **keywords):
            started[content_hash(atoms)] = atoms.copy()
            super().calculate(atoms, *arguments, **keywords)

    monkeypatch.setattr("cheap_campaign.Labels", Watched)
    bench = make_bench(tmp_path, monkeypatch)
    monkeypatch.setattr(
        "cheap_campaign.CheckedCampaign",
        lambda *given: CheckedCampaign(*given[:3], (Seed("fcc", seed),), *given[4:]),
    )
    bench.run(stopping={"rounds": 1})
    asked = read_structures(bench.files.round(0).hold_out)
    asked += read_structures(bench.files.round(1).selected)
    assert len(started) == len(asked) > 5
    for atoms in asked:
        given = started[content_hash(atoms)]
        order = canonical_order(atoms)[np.argsort(canonical_order(given))]
        np.testing.assert_allclose(
            given.get_scaled_positions(), atoms[order].get_scaled_positions(), atol=1e-5
        )
        np.testing.assert_array_equal(given.get_initial_magnetic_moments(), moments[order])


@pytest.mark.parametrize("moments", [[1.0, -1.0, 1.0, -1.0], None])
def test_non_magnetic_cannot_change_where_labels_start_from_moments_of_a_seed(
    tmp_path, monkeypatch, moments
):
    """Without moments it changes no label, and before the first label nothing is mixed."""
    seed = bulk("Cu", cubic=True)
    seed.set_initial_magnetic_moments(moments)
    bench = make_bench(tmp_path, monkeypatch)
    monkeypatch.setattr(
        "cheap_campaign.CheckedCampaign",
        lambda *given: CheckedCampaign(*given[:3], (Seed("fcc", seed),), *given[4:]),
    )
    regime = SETTINGS["regime"] | {"non_magnetic": True}
    explore_only(bench.campaign(regime=regime), Silence())
    bench.run(stopping={"rounds": 1})
    before = len(bench.computed)
    again = {"stopping": {"rounds": 2}, "regime": regime}
    if moments is None:
        bench.run(**again)
        assert len(bench.computed) > before
        return
    with pytest.raises(
        CampaignError,
        match=r"regime.non_magnetic: False before, True now.* seed fcc .*put the old value back",
    ):
        bench.run(**again)
    assert len(bench.computed) == before
    bench.run(stopping={"rounds": 2})


def test_an_attempt_keeps_moments_through_its_file(tmp_path):
    atoms = antiferromagnet()
    order = np.array([1, 0])
    settings = {"folder": tmp_path / "attempt-1", "engine": "{}", "rung": 0, "time_limit_s": 1.0}
    attempt = Attempt.of(atoms, order, **settings)
    attempt.write()
    found = Attempt.read(attempt.folder).atoms()
    np.testing.assert_array_equal(found.get_initial_magnetic_moments(), [-2.2, 2.2])
    # Requests of earlier versions have none.
    path = tmp_path / "attempt-1" / "attempt.json"
    stored = json.loads(path.read_text())
    del stored["moments"]
    path.write_text(json.dumps(stored))
    assert not Attempt.read(attempt.folder).atoms().has("initial_magmoms")


def test_moments_of_atoms_come_before_those_of_elements():
    atoms = antiferromagnet()
    own = with_moments(atoms, {"Fe": 3.0}).get_initial_magnetic_moments()
    np.testing.assert_array_equal(own, [2.2, -2.2])
    of_element = with_moments(without_moments(atoms), {"Fe": 3.0})
    np.testing.assert_array_equal(of_element.get_initial_magnetic_moments(), [3.0, 3.0])
    # An engine without moments computes no spin.
    assert not with_moments(atoms, {}).has("initial_magmoms")
    assert atoms.has("initial_magmoms")
