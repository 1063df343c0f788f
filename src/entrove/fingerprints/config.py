"""Settings of the Gaussian-overlap fingerprint."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from entrove.errors import ConfigError
from entrove.fingerprints.radii import width_table
from entrove.settings import Settings


class FingerprintConfig(Settings):
    """How the fingerprint of an atom is defined, and in which precision it is computed."""

    cutoff_A: PositiveFloat = Field(
        default=5.0, description="Radius of an atom's sphere, in Angstrom."
    )
    length: PositiveInt | Literal["auto"] = Field(
        default=50,
        description=(
            "Number of eigenvalues kept per atom, largest first, padded with zeros; 'auto' takes "
            "what the densest of the given structures needs, plus 10 %."
        ),
    )
    orbitals: Literal["s", "sp"] = Field(
        default="s", description="Gaussians on each atom: 's' alone, or 'sp' (s, p_x, p_y, p_z)."
    )
    radii_A: dict[str, float] | None = Field(
        default=None,
        description=(
            "Gaussian width by chemical symbol, in Angstrom; overrides the default table of "
            "covalent radii."
        ),
    )
    dtype: Literal["float64", "float32"] = Field(
        default="float64",
        description="Floating-point precision; float32 keeps about six digits of the values.",
    )

    @field_validator("radii_A")
    @classmethod
    def _check_radii(cls, radii_A: dict[str, float] | None) -> dict[str, float] | None:
        try:
            width_table(radii_A)
        except ConfigError as error:
            # pydantic reports a ValueError with the key's path; anything else would escape it.
            raise ValueError(str(error)) from error
        return radii_A

    @property
    def orbitals_per_atom(self) -> int:
        """1 for s, 4 for s and p."""
        return 1 if self.orbitals == "s" else 4
