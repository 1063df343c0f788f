"""The JSON schema says what is allowed; a small validator of the test reads it on its own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Command

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.schema import json_schema
from entrove.campaign.configuration.template import ENGINES, SIZES, Choices, write_starting_point
from entrove.curves.config import StudyConfig

ROOT = Path(__file__).parents[2]
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
READ = {
    *("type", "$ref", "anyOf", "oneOf", "enum", "const", "properties", "required"),
    *("additionalProperties", "items", "prefixItems", "minItems", "maxItems", "minimum"),
    *("maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"),
}
IGNORED = {"title", "description", "default", "discriminator", "format", "$defs", "$schema"}


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:  # noqa: PLR0912
    """Validate as JSON Schema (draft 2020-12) says, for the keywords that occur here."""
    assert set(schema) <= READ | IGNORED, set(schema) - READ - IGNORED
    number = isinstance(value, int | float) and not isinstance(value, bool)
    checks = []
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        checks.append(accepts(target, value, root))
    if "anyOf" in schema:
        checks.append(any(accepts(part, value, root) for part in schema["anyOf"]))
    if "oneOf" in schema:
        checks.append(sum(accepts(part, value, root) for part in schema["oneOf"]) == 1)
    match schema.get("type"):
        case "number":
            checks.append(number)
        case "integer":
            checks.append(number and float(value).is_integer())
        case None:
            pass
        case name:
            checks.append(isinstance(value, TYPES[name]))
    if "enum" in schema:
        checks.append(value in schema["enum"])
    if "const" in schema:
        checks.append(value == schema["const"])
    if number:
        checks += [
            value >= schema.get("minimum", value),
            value <= schema.get("maximum", value),
            "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"],
            "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"],
        ]
    if isinstance(value, str):
        checks += [
            len(value) >= schema.get("minLength", 0),
            len(value) <= schema.get("maxLength", len(value)),
            "pattern" not in schema or re.search(schema["pattern"], value) is not None,
        ]
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        checks += [
            schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)),
            *(accepts(part, item, root) for part, item in zip(first, value, strict=False)),
            *(
                accepts(schema["items"], item, root)
                for item in value[len(first) :]
                if isinstance(schema.get("items"), dict)
            ),
        ]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        checks.append(set(schema.get("required", [])) <= set(value))
        for key, item in value.items():
            if key in known:
                checks.append(accepts(known[key], item, root))
            else:
                checks.append(
                    accepts(others, item, root) if isinstance(others, dict) else bool(others)
                )
    return all(checks)


CAMPAIGN = json_schema(CampaignConfig)
GOOD = {"name": "silicon", "seeds": [{"phase": "diamond", "file": "diamond.xyz"}]}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/campaign.yaml")), ids=str)
def test_examples_follow_the_schema(path):
    assert accepts(CAMPAIGN, yaml.safe_load(path.read_text()), CAMPAIGN)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_init_writes_follows_the_schema_beside_it(tmp_path, engine, size):
    choices = Choices(engine=engine, engine_argument="a:B", executor="slurm", size=size)
    path = write_starting_point(tmp_path / "new", [], choices)
    name = path.read_text().splitlines()[0].partition("$schema=")[2]
    schema = json.loads((path.parent / name).read_text())
    assert accepts(schema, yaml.safe_load(path.read_text()), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"regimes": {}},
        {"name": "two words"},
        {"seeds": []},
        {"regime": {"temperatures_K": [-5]}},
        {"regime": {"pressures_GPa": ["high"]}},
        {"labelling": {"engine": {"name": "gpau"}}},
        {"labelling": {"engine": {"name": "gpaw", "cutof_eV": 300}}},
        {"training": {"epochs": 0}},
    ],
    ids=str,
)
def test_what_is_refused_when_it_is_read_is_refused_by_the_schema(wrong):
    assert accepts(CAMPAIGN, GOOD, CAMPAIGN)
    with pytest.raises(ValueError, match="validation error"):
        CampaignConfig.model_validate(GOOD | wrong)
    assert not accepts(CAMPAIGN, GOOD | wrong, CAMPAIGN)


def test_every_default_follows_the_schema():
    """An editor that writes a default writes what is allowed."""
    values = CampaignConfig.model_validate(GOOD).model_dump(mode="json")
    assert accepts(CAMPAIGN, values, CAMPAIGN)


def test_every_key_is_explained():
    for name, section in CAMPAIGN["$defs"].items():
        for key, entry in section.get("properties", {}).items():
            section_of = CAMPAIGN["$defs"].get(entry.get("$ref", "").rpartition("/")[2], {})
            explained = "description" in entry or "description" in section_of
            assert key == "name" or explained, f"{name}.{key}"


def test_the_command_prints_both_schemas(entrove: Command):
    code, output, _ = entrove("schema")
    assert (code, json.loads(output)) == (0, CAMPAIGN)
    code, output, _ = entrove("schema", "study")
    assert (code, json.loads(output)) == (0, json_schema(StudyConfig))
    code, _, errors = entrove("schema", "universe")
    assert code == 2
    assert "there is no schema of 'universe'; choose campaign or study" in errors


def test_the_help_has_the_choice_in_brackets_once(entrove: Command):
    code, output, _ = entrove("schema", "--help")
    assert code == 0
    assert " [campaign|study]" in output
