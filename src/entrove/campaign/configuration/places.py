"""Where the stages of a campaign run."""

from entrove.campaign.configuration.config import CampaignConfig
from entrove.execution.settings import (
    LocalExecution,
    ParslExecution,
    SlurmExecution,
    ThisMachine,
)

HERE = "on this machine"


STAGES = {"labelling": "labels", "sampling": "exploration", "training": "training"}
"""What runs in the executor of a section of the configuration."""


def executors_of(
    config: CampaignConfig,
) -> dict[str, LocalExecution | ThisMachine | SlurmExecution | ParslExecution]:
    """Return all executors by the section that has them."""
    return {
        "labelling": config.labelling.executor,
        "sampling": config.sampling.executor,
        "training": config.training.executor,
    }


def places_of(config: CampaignConfig) -> dict[str, str]:
    """Return where labels, exploration and training run, each as a phrase."""
    places = {}
    for section, executor in executors_of(config).items():
        what = STAGES[section]
        match executor:
            case SlurmExecution():
                places[what] = "in Slurm jobs"
            case ParslExecution():
                places[what] = f"where {executor.config} has them run"
            case _:
                places[what] = HERE
    return places


def describe_places(config: CampaignConfig) -> str:
    """Return where labels, exploration and training run, as a sentence without its full stop.

    >>> from entrove.execution.settings import SlurmExecution
    >>> slurm = {"executor": {"name": "slurm"}}
    >>> config = CampaignConfig.model_validate(
    ...     {
    ...         "name": "Si",
    ...         "seeds": [{"phase": "diamond", "file": "Si.cif"}],
    ...         "regime": {"pressures_GPa": [0], "temperatures_K": [300]},
    ...         "labelling": slurm,
    ...     }
    ... )
    >>> describe_places(config)
    'labels run in Slurm jobs; exploration and training run on this machine'
    """
    by_place: dict[str, list[str]] = {}
    for what, place in places_of(config).items():
        by_place.setdefault(place, []).append(what)
    parts = []
    for place, stages in by_place.items():
        *first, last = stages
        named = f"{', '.join(first)} and {last}" if first else last
        verb = "runs" if stages in (["exploration"], ["training"]) else "run"
        parts.append(f"{named} {verb} {place}")
    return "; ".join(parts)


def describe_overload(config: CampaignConfig, cores: int) -> str | None:
    """Say that labels want more cores than there are; None where they do not, or run elsewhere.

    Args:
        config: The configuration.
        cores: Cores that can be used on this machine.

    Programs that share a core are not wrong, but each of them takes longer.
    """
    executor = config.labelling.executor
    if not isinstance(executor, LocalExecution):
        return None
    each = executor.cores_per_worker
    if executor.workers * each <= cores:
        return None
    return (
        f"warning: labelling.executor wants {_count(executor.workers, 'worker')} with "
        f"{_count(each, 'core')} each, and {_count(cores, 'core')} can be used here: labels take "
        "longer than planned; lower workers or cores_per_worker"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
