"""Examine an installation and the machine that it is on."""

from collections.abc import Callable, Iterator
from pathlib import Path

from entrove.doctor.findings import Examination, Finding


def examine(
    folder: str | Path = ".",
    *,
    evaluate_all: bool = False,
    on_section: Callable[[str], None] | None = None,
) -> Examination:
    """Find out what is installed and works here, with a remedy for the rest.

    Args:
        folder: Where campaigns would be; it must exist. A file is created in it and removed again.
        evaluate_all: Load and evaluate every model of the installed packages; by default the first
            one of each.
        on_section: Called with the name of each part before it is examined.

    Returns the findings; missing programs and packages are findings, too. It takes seconds: torch
    and the frameworks are imported.
    """
    found: list[Finding] = []
    for name, section in _sections(Path(folder).absolute(), evaluate_all=evaluate_all):
        if on_section is not None:
            on_section(name)
        found += section()
    return Examination(tuple(found))


def _sections(
    folder: Path, *, evaluate_all: bool
) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    from entrove.doctor.packages import examine_packages

    yield "packages", examine_packages
    from entrove.doctor.models import examine_models

    yield "models", lambda: examine_models(evaluate_all=evaluate_all)
    from entrove.doctor.engines import examine_engines

    yield "engines", examine_engines
    from entrove.doctor.executors import examine_programs

    yield "programs", examine_programs
    from entrove.doctor.machine import examine_machine

    yield "machine", lambda: examine_machine(folder)
