"""The base class of every configuration model: frozen, strict, and described field by field."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen configuration in which unknown keys are errors.

    The meaning and unit of each field are its `Field(description=...)`, from which the reference
    page of the configuration is generated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
