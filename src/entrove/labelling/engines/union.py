"""Every engine under one configuration key."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.mlip import Teacher

AnyEngine = Annotated[Gpaw | AseCalculator | Teacher, Field(discriminator="name")]
"""The engine of a configuration; its key `name` says which."""

_ADAPTER: TypeAdapter[Engine] = TypeAdapter(AnyEngine)


def engine_from_json(text: str) -> Engine:
    """The engine that `engine.model_dump_json()` described."""
    return _ADAPTER.validate_json(text)
