"""The base class of every configuration model: frozen, strict, and described field by field."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function


def _without_truth(schema: Any) -> Any:
    """Return a schema, or a part of one, whose numbers refuse `true` and `false`.

    Where a union has numbers beside `true` and `false`, all are allowed.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(map(_without_truth, schema))
    if not isinstance(schema, dict):
        return schema
    part: Any = schema  # of one of many types
    match part.get("type"):
        case "int" | "float":
            return no_info_before_validator_function(_refuse_truth, part)
        case "union" if any(_is_truth(choice) for choice in part["choices"]):
            return part
    # Other keys hold no schemas, or what users of Pydantic put there.
    inside = {key: value for key, value in part.items() if key not in ("metadata", "default")}
    return part | {key: _without_truth(value) for key, value in inside.items()}


def _is_truth(choice: Any) -> bool:
    # A choice of a union may be a pair of a schema and its label.
    schema = choice[0] if isinstance(choice, tuple) else choice
    return schema["type"] == "bool"


def _refuse_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("truth_for_number", "a number belongs here")
    return value


class Settings(BaseModel):
    """A frozen configuration in which unknown keys are errors.

    The meaning and unit of each field are its `Field(description=...)`, from which the reference
    page of the configuration is generated.

    `true` is no number: Pydantic takes it for 1, and YAML writes it as `yes` and `on`, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        """Return the schema of Pydantic, in which every number refuses `true` and `false`."""
        schema = handler(source)
        model: Any = handler.resolve_ref_schema(schema)
        model["schema"] = _without_truth(model["schema"])
        return schema
