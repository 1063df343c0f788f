"""The grid of walkers: phase x pressure x temperature x bias, strength by strength."""

from collections.abc import Iterable
from dataclasses import dataclass

from ase import Atoms

from entrove.errors import ConfigError
from entrove.sampling.config import SamplingConfig


@dataclass(frozen=True)
class Start:
    """A phase relaxed at a pressure: where walkers of that phase and pressure start.

    Attributes:
        phase: Name of the phase.
        pressure_GPa: Pressure in GPa.
        atoms: The relaxed structure.
    """

    phase: str
    pressure_GPa: float
    atoms: Atoms


@dataclass(frozen=True)
class Walker:
    """One cell of the grid; a biased one has either `kappa_eV` or `fraction`."""

    index: int
    phase: str
    pressure_GPa: float
    temperature_K: float
    entropy: str
    mode: str
    kappa_eV: float | None
    fraction: float | None
    replica: int = 0

    @property
    def biased(self) -> bool:
        """Whether an entropy acts on this walker."""
        return self.entropy != "none"

    def describe_bias(self) -> str:
        """Entropy, mode and strength as text, such as 'information, per atom, fraction 0.3'."""
        if not self.biased:
            return "unbiased"
        strength = (
            f"kappa {self.kappa_eV:g} eV"
            if self.fraction is None
            else f"fraction {self.fraction:g}"
        )
        return f"{self.entropy}, {self.mode.replace('_', ' ')}, {strength}"


def plan_walkers(
    starts: Iterable[Start], temperatures_K: Iterable[float], config: SamplingConfig
) -> tuple[list[Walker], list[Atoms]]:
    """List every walker of the grid, and the structure that each starts from.

    Args:
        starts: Relaxed phases with their pressures.
        temperatures_K: Temperatures in K, each combined with each start.
        config: Its `biases` and `replicas` set how many walkers each combination gets.

    Raises `ConfigError` when there is no start or no temperature, or when a temperature is not
    positive.
    """
    starts, temperatures_K = list(starts), [float(value) for value in temperatures_K]
    if not starts:
        raise ConfigError(
            "no relaxed phase to start walkers from; check the seeds and their relaxation"
        )
    if not temperatures_K or min(temperatures_K) <= 0:
        raise ConfigError(
            f"temperatures_K={temperatures_K} is not allowed; give at least one, each above 0 K"
        )
    walkers: list[Walker] = []
    atoms: list[Atoms] = []
    for start in starts:
        for temperature in temperatures_K:
            for entropy, mode, kappa, fraction in _strengths(config):
                for replica in range(config.replicas):
                    walkers.append(
                        Walker(
                            index=len(walkers),
                            phase=start.phase,
                            pressure_GPa=float(start.pressure_GPa),
                            temperature_K=temperature,
                            entropy=entropy,
                            mode=mode,
                            kappa_eV=kappa,
                            fraction=fraction,
                            replica=replica,
                        )
                    )
                    atoms.append(start.atoms)
    return walkers, atoms


def _strengths(config: SamplingConfig) -> list[tuple[str, str, float | None, float | None]]:
    strengths: list[tuple[str, str, float | None, float | None]] = []
    for bias in config.biases:
        if bias.entropy == "none":
            strengths.append(("none", bias.mode, None, None))
        strengths += [(bias.entropy, bias.mode, kappa, None) for kappa in bias.kappas_eV]
        strengths += [(bias.entropy, bias.mode, None, fraction) for fraction in bias.fractions]
    return strengths
