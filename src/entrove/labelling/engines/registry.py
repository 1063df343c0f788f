"""Every engine by its name: a new one is one more member of `AnyEngine`."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from entrove.labelling.engines.ase import AseCalculator
from entrove.labelling.engines.base import Engine
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.espresso import Espresso
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.mlip import Mlip
from entrove.labelling.engines.vasp import Vasp

AnyEngine = Annotated[
    Gpaw | Espresso | Vasp | Cp2k | AseCalculator | Mlip, Field(discriminator="name")
]
"""The engine of a configuration; its key `name` says which."""

_ADAPTER: TypeAdapter[Engine] = TypeAdapter(AnyEngine)


def engine_from_json(text: str) -> Engine:
    """The engine that `engine.model_dump_json()` described."""
    return _ADAPTER.validate_json(text)
