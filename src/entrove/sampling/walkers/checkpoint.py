"""A state of the walkers as a file: plain tensors and numbers, no pickled code."""

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_sim.integrators.md import MDState
from torch_sim.integrators.npt import NPTLangevinAnisotropicState, NPTLangevinIsotropicState
from torch_sim.state import SimState

from entrove.errors import CampaignError
from entrove.files import replacing
from entrove.sampling.walkers.grid import Walker
from entrove.sampling.walkers.guards import GuardReason
from entrove.sampling.walkers.restarts import Restart, RestartedFrom
from entrove.sampling.walkers.state import WalkersState
from entrove.sampling.walkers.strength import Strengths

logger = logging.getLogger(__name__)

SCHEMA = 1

_STATES: dict[str, type[SimState]] = {
    kind.__name__: kind
    for kind in (SimState, MDState, NPTLangevinIsotropicState, NPTLangevinAnisotropicState)
}


def save_walkers(path: str | Path, state: WalkersState) -> None:
    """Write a state, replacing `path` in one step."""
    # Into a handle: given a path, torch would store the name of the unfinished file.
    with replacing(path) as unfinished, unfinished.open("wb") as handle:
        torch.save(_to_plain(state), handle)


def load_walkers(path: str | Path, device: str | torch.device = "cpu") -> WalkersState:
    """Read a state back, to the last bit, and put it on a device.

    A random generator of another kind of device cannot be continued: a new one is seeded from the
    stored one, the same way each time, with a warning in the log.

    Raises `CampaignError` when the file is missing, damaged, or of another schema.
    """
    try:
        plain = torch.load(path, weights_only=True, map_location=device)
    except Exception as error:  # torch.load raises anything at all on a damaged file
        raise CampaignError(
            f"{path}: the walkers cannot be read ({error}); delete the file to start them again"
        ) from error
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        raise CampaignError(
            f"{path}: the walkers were written by another version (schema is not {SCHEMA}); "
            "delete the file to start them again"
        )
    return _from_plain(plain, torch.device(device))


def _to_plain(state: WalkersState) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "walkers": [asdict(walker) for walker in state.walkers],
        "rows": list(state.rows),
        "step": state.step,
        "md": _batch_to_plain(state.md),
        "rng_state": state.rng_state,
        "strengths": dict(vars(state.strengths)),
        "relaxed": _batch_to_plain(state.relaxed),
        "healthy": _batch_to_plain(state.healthy),
        "spent": state.spent,
        "quiet_until": state.quiet_until,
        "restarts": [
            asdict(restart)
            | {"reason": restart.reason.name, "restarted_from": restart.restarted_from.name}
            for restart in state.restarts
        ],
    }


def _from_plain(plain: dict[str, Any], device: torch.device) -> WalkersState:
    md = _batch_from_plain(plain["md"])
    assert isinstance(md, MDState)
    return WalkersState(
        walkers=tuple(Walker(**walker) for walker in plain["walkers"]),
        rows=tuple(plain["rows"]),
        step=plain["step"],
        md=md,
        # Generators keep their state in host memory, whatever their device.
        rng_state=_generator_state(plain["rng_state"].cpu(), plain["step"], device),
        strengths=Strengths(**plain["strengths"]),
        relaxed=_batch_from_plain(plain["relaxed"]),
        healthy=_batch_from_plain(plain["healthy"]),
        spent=plain["spent"],
        quiet_until=plain["quiet_until"],
        restarts=tuple(
            Restart(
                **restart
                | {
                    "reason": GuardReason[restart["reason"]],
                    "restarted_from": RestartedFrom[restart["restarted_from"]],
                }
            )
            for restart in plain["restarts"]
        ),
    )


def _generator_state(stored: Tensor, step: int, device: torch.device) -> Tensor:
    """The stored state, or one seeded from it where the device has generators of another kind.

    The stored state depends on the campaign's seed and on the position in its stream, so no two
    streams get the same seed.
    """
    generator = torch.Generator(device=device)
    if len(stored) == len(generator.get_state()):
        return stored
    digest = hashlib.sha256(stored.numpy().tobytes() + step.to_bytes(8, "little")).digest()
    logger.warning(
        "the walkers were stored at step %d on another kind of device than %s: their noise "
        "continues from a new seed, so this run will not equal one that stayed there",
        step,
        device.type,
    )
    return generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1).get_state()


def _batch_to_plain(state: SimState) -> dict[str, Any]:
    attributes = dict(state.attributes)
    attributes["_rng"] = None  # kept once, as `rng_state`
    attributes["_constraints"] = []
    return {"class": type(state).__name__, "attributes": attributes}


def _batch_from_plain(plain: dict[str, Any]) -> SimState:
    return _STATES[plain["class"]](**plain["attributes"])
