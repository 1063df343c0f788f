"""Where the stages of a campaign run."""

from entrove.campaign.configuration.config import CampaignConfig
from entrove.execution.settings import ParslExecution, SlurmExecution

HERE = "on this machine"


def places_of(config: CampaignConfig) -> dict[str, str]:
    """Return where labels, exploration and training run, each as a phrase."""
    executors = {
        "labels": config.labelling.executor,
        "exploration": config.sampling.executor,
        "training": config.training.executor,
    }
    places = {}
    for what, executor in executors.items():
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
