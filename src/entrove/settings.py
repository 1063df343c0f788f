"""The base of every configuration model: frozen, strict, and described field by field."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen configuration whose unknown keys are errors.

    Each field carries its meaning and unit in `Field(description=...)`; the reference page of the
    configuration is generated from these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
