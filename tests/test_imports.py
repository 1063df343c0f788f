"""The import graph: no circle anywhere, not even one that an import inside a function hides."""

from graphlib import TopologicalSorter

import grimp


def test_no_module_imports_itself_by_way_of_others():
    graph = grimp.build_graph("entrove")
    imports = {
        module: graph.find_modules_directly_imported_by(module) for module in graph.modules
    }
    # Raises CycleError, which names the modules of the circle.
    assert len(list(TopologicalSorter(imports).static_order())) == len(graph.modules)
