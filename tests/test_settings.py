"""Settings: `true` is no number, in whichever field or list."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import sections
from entrove.curves.config import StudyConfig
from entrove.settings import Settings

NUMBERS = ("integer", "number")


def kinds(schema: dict) -> set[str]:
    """The JSON types of a field, of all members of a union."""
    members = [schema, *schema.get("anyOf", ())]
    return {member["type"] for member in members if isinstance(member.get("type"), str)}


def fields_of(config: type) -> list:
    found = {
        (model, name): kinds(schema)
        for _, model in sections(config)
        for name, schema in model.model_json_schema()["properties"].items()
    }
    return [
        pytest.param(model, name, types, id=f"{model.__name__}.{name}")
        for (model, name), types in found.items()
    ]


@pytest.mark.parametrize(
    ("model", "name", "types"), [*fields_of(CampaignConfig), *fields_of(StudyConfig)]
)
def test_true_is_taken_by_fields_that_are_true_or_false_and_by_no_number(model, name, types):
    try:
        model.model_validate({name: True})
        problems = []
    except ValidationError as error:
        problems = [each["type"] for each in error.errors() if each["loc"][:1] == (name,)]
    if "boolean" in types:
        assert problems == []
    elif types & set(NUMBERS):
        assert "truth_for_number" in problems


class Numbers(Settings):
    one: float = 0.0
    either: int | Literal["auto"] | None = None
    truth: bool | float = 0.0
    choice: Literal[True, 2] = 2
    many: tuple[Annotated[float, Field(gt=0)], ...] = ()
    three: tuple[int, bool, int] = (1, True, 1)
    nested: tuple[tuple[float, float], ...] = ()
    by_name: dict[str, float | list[int]] = {}  # noqa: RUF012


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ({"one": False}, ()),
        ({"either": True}, ()),
        ({"many": [1, True]}, (1,)),
        ({"three": [1, True, True]}, (2,)),
        ({"nested": [[1, 2], [3, True]]}, (1, 1)),
        ({"by_name": {"a": 1, "b": True}}, ("b",)),
        ({"by_name": {"a": [1, True]}}, ("a", 1)),
    ],
)
def test_where_a_number_is_missing_is_said(values, inside):
    with pytest.raises(ValidationError, match="a number belongs here") as error:
        Numbers.model_validate(values)
    [place] = [each["loc"] for each in error.value.errors() if "number belongs" in each["msg"]]
    # The field, then the place in it; members of unions have their name between.
    assert tuple(part for part in place[1:] if part in inside) == inside


@pytest.mark.parametrize(
    "values",
    [
        {"truth": True},
        {"choice": True},
        {"three": [1, False, 1]},
        {"one": 1, "many": [1, "2.5"], "by_name": {"a": "1e-3"}},
        {"one": "1e-3"},
    ],
)
def test_what_may_be_true_and_numbers_as_yaml_writes_them_are_taken(values):
    """YAML 1.1 reads 1e-3 as text."""
    Numbers.model_validate(values)
