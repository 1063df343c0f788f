"""JSON schema of the configuration files, with which an editor completes and explains keys."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from entrove.files import replace_text

SCHEMA_FILE = "campaign.schema.json"
"""Name of the file that `entrove init` writes beside a configuration."""

EDITOR_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
"""First line of a configuration, by which editors with a YAML language server find the schema."""


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a configuration.

    Args:
        model: `CampaignConfig`, or another model that a YAML file is read with.

    A file that the schema refuses is refused when it is read. The opposite need not hold: checks
    that compare several keys are not in the schema.
    """
    schema = model.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text(model: type[BaseModel]) -> str:
    """Return the JSON schema as text."""
    return json.dumps(json_schema(model), indent=1) + "\n"


def write_schema(folder: Path, model: type[BaseModel]) -> None:
    """Write the JSON schema into the folder of a configuration."""
    replace_text(folder / SCHEMA_FILE, schema_text(model))
