"""Every key of the configuration is read by some code: none is without effect."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import entrove
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import nested_models

SOURCES = Path(entrove.__file__).parent
VALIDATORS = ("field_validator", "model_validator")
COUNTED = {"dataset_hashes", "potential_hashes"}
"""Read as a whole: `Engine.theory` has every setting except those of the path to convergence."""


def keys_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key, including sections: a key can only be read if its section is."""
    for name, field in model.model_fields.items():
        yield (*path, name)
        for member in dict.fromkeys(nested_models(field.annotation)):
            yield from keys_of(member, (*path, name))


def names_read() -> set[str]:
    """The names of all attributes that code reads, except in validators of the configuration."""
    found: set[str] = set()
    for source in SOURCES.rglob("*.py"):
        tree = ast.parse(source.read_text())
        checks = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            and any(is_validator(decorator) for decorator in node.decorator_list)
            for inner in ast.walk(node)
        }
        found |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and node not in checks
        }
    return found


def is_validator(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") in VALIDATORS


READ = names_read()


@pytest.mark.parametrize("key", sorted(set(keys_of(CampaignConfig))), ids=".".join)
def test_a_key_is_read_by_something(key: tuple[str, ...]):
    assert key[-1] in READ | COUNTED
