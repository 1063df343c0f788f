"""Imports: no circle, not even one inside a function; public names load, and load late."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import entrove

SOURCE = Path(entrove.__file__).parent
STUBS = sorted(SOURCE.rglob("__init__.pyi"))


def package_of(stub):
    return ".".join(("entrove", *stub.parent.relative_to(SOURCE).parts))


def test_no_module_imports_itself_by_way_of_others():
    graph = grimp.build_graph("entrove")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # Raises CycleError, which names the modules of the circle.
    assert len(list(TopologicalSorter(imports).static_order())) == len(graph.modules)


@pytest.mark.parametrize("stub", STUBS, ids=package_of)
def test_every_public_name_is_what_its_stub_says(stub):
    package = importlib.import_module(package_of(stub))
    names = {}
    for statement in ast.parse(stub.read_text()).body:
        names |= {alias.asname: statement.module for alias in statement.names}
    assert sorted(package.__all__) == sorted(names)
    for name, module in names.items():
        defined = getattr(importlib.import_module(f"{package.__name__}.{module}"), name)
        assert getattr(package, name) is defined


def test_packages_are_imported_without_torch():
    imports = ", ".join(map(package_of, STUBS))
    code = f"import sys, {imports}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
