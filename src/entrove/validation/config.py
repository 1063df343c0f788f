"""Settings that decide whether a tuned model is kept."""

from pydantic import Field

from entrove.settings import Settings


class ValidationConfig(Settings):
    """When a tuned model counts as better than the untuned one, and what counts as worse."""

    tolerated_worsening: float | None = Field(
        default=0.25,
        ge=0,
        description="A tuned model is refused when the error of a phase or kind of structure has "
        "grown by more than this fraction beyond its confidence interval. 0 refuses any growth "
        "beyond the interval; null refuses none. What got worse is named in any case.",
    )
    negligible_energy_meV_per_atom: float = Field(
        default=1.0,
        ge=0,
        description="An energy error that grew by less than this is not worse, in meV/atom.",
    )
    negligible_force_meV_per_A: float = Field(
        default=2.0,
        ge=0,
        description="A force error that grew by less than this is not worse, in meV/A.",
    )
    negligible_stress_meV_per_A3: float = Field(
        default=0.2,
        ge=0,
        description="A stress error that grew by less than this is not worse, in meV/A^3 "
        "(0.2 meV/A^3 = 0.03 GPa).",
    )
