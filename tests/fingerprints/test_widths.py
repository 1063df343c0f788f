"""Elements that fingerprints could not tell apart get widths of their own."""

from itertools import combinations

import numpy as np
import pytest
from ase.build import bulk
from ase.data import chemical_symbols
from hypothesis import given
from hypothesis import strategies as st

import entrove
from entrove.errors import ConfigError
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.lengths import look_ahead, resolve, with_distinct_widths
from entrove.fingerprints.nearness import NEAR, distances, signatures
from entrove.fingerprints.radii import (
    LEAST_RATIO,
    MOST_CHANGE,
    SAME_WIDTH,
    distinct_widths,
    width_table,
)

KNOWN = chemical_symbols[1:113]
TABLE = dict(zip(chemical_symbols, width_table().tolist(), strict=False))
ROUNDING = 1e-4


def widths_of(symbols, radii_A=None) -> dict[str, float]:
    return {symbol: TABLE[symbol] for symbol in symbols} | distinct_widths(symbols, radii_A)


@pytest.mark.parametrize(
    "pair", [pair for pair in combinations(KNOWN, 2) if TABLE[pair[0]] == TABLE[pair[1]]]
)
def test_no_two_elements_share_a_width(pair):
    low, high = sorted(widths_of(pair).values())
    assert high / low == pytest.approx(LEAST_RATIO, rel=2 * ROUNDING)


@given(st.sets(st.sampled_from(KNOWN), min_size=1, max_size=12))
def test_widths_keep_their_order_and_nearly_their_size(symbols):
    widths = widths_of(symbols)
    ordered = sorted(symbols, key=lambda symbol: (TABLE[symbol], KNOWN.index(symbol)))
    values = np.array([widths[symbol] for symbol in ordered])
    assert (np.diff(values) > 0).all()
    old = np.array([TABLE[symbol] for symbol in ordered])
    assert (np.abs(np.log(values / old)) <= np.log(MOST_CHANGE) + ROUNDING).all()
    far = (old[1:] > LEAST_RATIO * old[:-1]).all()
    assert (distinct_widths(symbols) == {}) == bool(far)


def test_all_elements_at_once_are_told_apart():
    values = np.sort(list(widths_of(KNOWN).values()))
    assert (values[1:] / values[:-1]).min() > SAME_WIDTH


def test_widths_that_are_given_are_kept_and_others_make_room():
    widths = widths_of(["V", "Fe", "Co"], {"V": 1.25})
    assert widths["V"] == 1.25
    low, middle, high = sorted(widths.values())
    assert min(middle / low, high / middle) > LEAST_RATIO - 2 * ROUNDING


def test_widths_do_not_depend_on_the_order_of_the_elements():
    assert distinct_widths(["V", "Fe", "Co"]) == distinct_widths(iter(["Co", "V", "Fe", "V"]))


def orderings_of(first: str, second: str):
    """Two orderings of a cell of eight atoms that no symmetry makes one."""
    cell = bulk("Fe", "bcc", a=2.9, cubic=True).repeat((2, 2, 1))
    cell.set_chemical_symbols([first] * 8)
    found = []
    for places in ((0, 2, 4, 6), (0, 1, 2, 3)):
        ordering = cell.copy()
        ordering.symbols[list(places)] = second
        found.append(ordering)
    return found


@pytest.mark.parametrize("pair", [("V", "Fe"), ("Co", "Ga"), ("Os", "Pt"), ("Si", "C")])
def test_orderings_of_an_alloy_are_different_structures(pair):
    ordered, other = orderings_of(*pair)
    turned = other.copy()
    turned.rotate(30.0, (1, 2, 3), rotate_cell=True)
    one, another, turned_one = signatures([ordered, other, turned])
    assert distances(one, another[None])[0] > 10 * NEAR
    assert distances(another, turned_one[None])[0] < 1e-6 < NEAR


def test_the_fingerprint_of_a_system_tells_its_elements_apart():
    structures = orderings_of("V", "Fe")
    config = resolve(FingerprintConfig(), structures)
    assert config.radii_A == distinct_widths(["Fe", "V"])
    values = entrove.fingerprint(structures, radii_A=config.radii_A).values
    assert np.abs(np.sort(values[:8], axis=0) - np.sort(values[8:], axis=0)).max() > 1e-3
    given_A = FingerprintConfig(radii_A={"Fe": 1.3})
    assert with_distinct_widths(given_A, structures).radii_A == {"Fe": 1.3}


def test_nothing_of_a_stream_is_lost():
    structures = orderings_of("V", "Fe")
    seen, stream = look_ahead(iter(structures))
    assert seen == structures
    assert list(stream) == structures


def test_elements_of_one_width_are_named_once(caplog):
    structures = orderings_of("V", "Fe")
    entrove.fingerprint(structures)
    assert [record.getMessage()[:8] for record in caplog.records] == ["V and Fe"]
    caplog.clear()
    entrove.fingerprint(structures, radii_A=distinct_widths(["V", "Fe"]))
    entrove.fingerprint([*orderings_of("V", "V"), *orderings_of("Si", "C")])
    assert not caplog.records


def test_an_unknown_element_is_refused():
    with pytest.raises(ConfigError, match="no chemical symbol"):
        distinct_widths(["Si"], {"Sj": 1.0})
    for unknown in ("Sj", "X", "si"):
        with pytest.raises(ConfigError, match=f"symbols: '{unknown}' is no chemical symbol"):
            distinct_widths(["Si", unknown])
