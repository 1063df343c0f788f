"""Frameworks of potentials, and which of their packaged models load and evaluate a crystal."""

import importlib.util
import time
from collections.abc import Iterator

from entrove._optional import install_command
from entrove.doctor.findings import Finding, State
from entrove.models.frameworks import Framework
from entrove.models.registry import FRAMEWORKS

SECTION = "models"


def examine_models(*, evaluate_all: bool) -> Iterator[Finding]:
    """Load the first packaged model of each framework, or all of them, and evaluate silicon."""
    installed = [known for known in FRAMEWORKS if importlib.util.find_spec(known.package)]
    if not any(known.trainable for known in installed):
        names = " or ".join(known.extra for known in FRAMEWORKS if known.trainable)
        first = next(known.extra for known in FRAMEWORKS if known.trainable)
        yield Finding(
            SECTION,
            "a model to tune",
            State.PROBLEM,
            f"no framework that trains is installed ({names})",
            install_command(first),
        )
    for framework in installed:
        yield from _examine_framework(framework, evaluate_all=evaluate_all)


def _examine_framework(framework: Framework, *, evaluate_all: bool) -> Iterator[Finding]:
    tried = framework.packaged if evaluate_all else framework.packaged[:1]
    for name in tried:
        yield _try_model(framework, name)
    kept = [name for name in framework.packaged if name not in tried]
    others = [name for name in framework.models if name not in framework.packaged]
    if kept:
        yield Finding(
            SECTION,
            framework.name,
            State.WORKS,
            f"also in its package: {', '.join(kept)} ('entrove doctor --all' tries them)",
        )
    if others:
        yield Finding(
            SECTION,
            framework.name,
            State.WORKS,
            f"to download once by yourself: {', '.join(others)}",
        )


def _try_model(framework: Framework, name: str) -> Finding:
    from ase.build import bulk

    from entrove.models.prediction import predict
    from entrove.models.registry import load
    from entrove.structures import energy_of

    try:
        model = load(name)
        began = time.perf_counter()
        (atoms,) = predict(model, [bulk("Si", cubic=True)])
        seconds = time.perf_counter() - began
    except Exception as error:  # foreign packages raise errors of every kind
        return Finding(
            SECTION,
            name,
            State.PROBLEM if framework.trainable else State.WARNING,
            f"does not load or evaluate: {type(error).__name__}: {error}",
            install_command(framework.extra).replace("install ", "install --force-reinstall ", 1),
        )
    device = model.model.device
    return Finding(
        SECTION,
        name,
        State.WORKS,
        f"loads and evaluates on {device}: 8 atoms of silicon have "
        f"{energy_of(atoms) / len(atoms):.3f} eV/atom, {seconds:.2f} s the first time",
    )
