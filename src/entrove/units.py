"""Units: eV, Angstrom, fs, K and eV/Angstrom^3 everywhere; pressures that users give are in GPa.

The constants are CODATA 2018, rounded to double precision. Convert only where another code with
other units is called.
"""

EV_PER_A3_IN_GPA = 160.21766340000000
"""One eV/Angstrom^3 in GPa."""

DALTON_PER_A3_IN_G_PER_CM3 = 1.66053906660
"""One dalton/Angstrom^3 in g/cm^3."""

BOLTZMANN_EV_PER_K = 8.617333262145179e-05
"""Boltzmann's constant in eV/K."""


def gpa_to_ev_per_a3(pressure_GPa: float) -> float:
    """Convert a pressure or stress from GPa to eV/Angstrom^3.

    >>> round(gpa_to_ev_per_a3(160.2176634), 12)
    1.0
    """
    return pressure_GPa / EV_PER_A3_IN_GPA


def ev_per_a3_to_gpa(stress_eV_per_A3: float) -> float:
    """Convert a pressure or stress from eV/Angstrom^3 to GPa.

    >>> round(ev_per_a3_to_gpa(1.0), 6)
    160.217663
    """
    return stress_eV_per_A3 * EV_PER_A3_IN_GPA
