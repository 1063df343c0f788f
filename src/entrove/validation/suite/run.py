"""Run the validation suite: all checks, one after the other."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from entrove._version import __version__
from entrove.errors import ConfigError, EntroveError, ModelError, StructureError
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict, try_on
from entrove.models.verify import verified
from entrove.structures import energy_of, forces_of
from entrove.validation.config import ValidationConfig
from entrove.validation.suite.checks.calibration import check_calibration
from entrove.validation.suite.checks.dimers import check_dimers
from entrove.validation.suite.checks.dynamics import check_dynamics
from entrove.validation.suite.checks.elastic import check_elastic
from entrove.validation.suite.checks.equation_of_state import check_equation_of_state
from entrove.validation.suite.checks.errors import check_errors
from entrove.validation.suite.checks.forgetting import check_forgetting
from entrove.validation.suite.checks.phase_order import check_phase_order, pressures_of
from entrove.validation.suite.checks.phonons import check_phonons
from entrove.validation.suite.config import CheckSettings, SuiteConfig
from entrove.validation.suite.crystals import crystals_of
from entrove.validation.suite.result import CheckResult, SuiteResult, not_applicable
from entrove.validation.suite.sources import Source, open_source
from entrove.validation.suite.store import key_of, read_stored, write_stored
from entrove.validation.suite.subject import Subject

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """A check: its name, its section of a configuration, and what it does, in a phrase."""

    name: str
    settings: Callable[[SuiteConfig], CheckSettings]
    description: str
    make: Callable[[Subject, Any], list[CheckResult]]


CHECKS: tuple[Check, ...] = (
    Check("errors", lambda config: config.errors, "errors on labelled data", check_errors),
    Check(
        "calibration",
        lambda config: config.calibration,
        "spread of a committee against its error",
        check_calibration,
    ),
    Check(
        "equation_of_state",
        lambda config: config.equation_of_state,
        "energy against volume",
        check_equation_of_state,
    ),
    Check("elastic", lambda config: config.elastic, "elastic constants", check_elastic),
    Check(
        "phase_order",
        lambda config: config.phase_order,
        "enthalpies over pressure",
        check_phase_order,
    ),
    Check("dimers", lambda config: config.dimers, "repulsion at short distances", check_dimers),
    Check(
        "forgetting",
        lambda config: config.forgetting,
        "crystals of other elements",
        check_forgetting,
    ),
    Check("phonons", lambda config: config.phonons, "phonons", check_phonons),
    Check(
        "dynamics",
        lambda config: config.dynamics,
        "MD with and without a thermostat",
        check_dynamics,
    ),
)
"""All checks, the quick ones first."""

Progress = Callable[[str, str, Sequence[CheckResult] | None], None]
"""Called with name and description of a check when it starts, and with its results at its end."""


def run_suite(
    model: LoadedModel | str | Path,
    *,
    phases: Mapping[str, Atoms] | None = None,
    labelled: Iterable[Atoms] = (),
    against: LoadedModel | str | Path | None = None,
    config: SuiteConfig | None = None,
    pressures_GPa: Iterable[float] = (),
    temperatures_K: Iterable[float] = (),
    folder: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> SuiteResult:
    """Judge a model by named checks.

    Args:
        model: The model: a loaded one (a committee is judged by its mean), the folder of a model
            bundle, or what `entrove.models.load` takes (a name, a file, an import path).
        phases: Crystals by name. Without any, those of the bundle; without a bundle they are
            found in `labelled` by symmetry, see `entrove.validation.suite.crystals.crystals_of`.
        labelled: Structures with energy (eV), forces (eV/A) and stress (eV/A^3); by default the
            test labels of the bundle, or its validation labels if it has no others.
        against: The untuned model, to compare errors with and to see what was forgotten; by
            default the one that the bundle was tuned from, where it can be loaded.
        config: Which checks run, and their thresholds.
        pressures_GPa, temperatures_K: The regime in which the model will be used; pressures in
            `config` have priority. By default the regime of the bundle, else 0 GPa and 300 K.
        folder: Folder for the results of each check. A second call with the same model, crystals
            and settings takes from there what is finished. None keeps nothing.
        device: Where models that are given by name run: "auto", "cpu" or "cuda".
        progress: Called before and after each check.

    Returns one result for each check and phase. A check that cannot be made says why, and does
    not count as failed. When it is interrupted from the keyboard, what is finished is in
    `folder`, and `KeyboardInterrupt` is raised on.

    Raises `ModelError` when a model cannot be loaded, does not know an element or can evaluate
    none of the structures,
    `StructureError` when there is no crystal and no label, or a label lacks energy or forces, and
    `ConfigError` where `config` names
    a phase that does not exist.
    """
    config, labelled = config or SuiteConfig(), list(labelled)
    source = Source(model) if isinstance(model, LoadedModel) else open_source(model, device=device)
    base, base_shifts_eV = base_of(source, against, device)
    subject = make_subject(
        source.model,
        phases=phases or source.phases,
        labelled=labelled or source.labelled,
        labelled_as="labels" if labelled else source.labelled_as,
        base=base,
        base_shifts_eV=base_shifts_eV,
        has_zero_of_labels=source.is_tuned,
        config=config,
        pressures_GPa=[float(value) for value in pressures_GPa] or source.pressures_GPa,
        temperatures_K=[float(value) for value in temperatures_K] or source.temperatures_K,
        committee=source.committee,
    )
    try:
        return judge(_with_verified_batches(subject), config, folder=folder, progress=progress)
    except EntroveError:
        raise
    except Exception:
        # Foreign code raises what it likes; where it knows no element, a sentence says so.
        for known in filter(None, (subject.model, subject.base)):
            try_on(known, [*subject.seeds.values(), *subject.labelled[:1]])
        raise


def base_of(
    source: Source, against: LoadedModel | str | Path | None, device: str
) -> tuple[LoadedModel | None, Mapping[str, float] | None]:
    """The untuned model, and its reference energies where it is the one that a bundle names."""
    if isinstance(against, LoadedModel):
        return against, None
    if against is not None:
        known = source.base_shifts_eV if source.is_base(str(against)) else None
        return open_source(against, device=device).model, known
    if source.base is None:
        return None, None
    try:
        return open_source(source.base, device=device).model, source.base_shifts_eV
    except ModelError as error:
        logger.warning("the model is not compared with the one that it was tuned from: %s", error)
        return None, None


def _with_verified_batches(subject: Subject) -> Subject:
    """Evaluate models one by one where their batches disagree with their own calculators."""
    samples = list(subject.seeds.values())

    def trusted(model: LoadedModel) -> LoadedModel:
        return verified(model, samples, on_mismatch="fall_back")[0] if model.batched else model

    model, base, committee = trusted(subject.model), subject.base, subject.committee
    if committee is subject.model:
        committee = model
    elif committee is not None:
        committee = trusted(committee)
    return replace(
        subject,
        model=model,
        base=None if base is None else trusted(base),
        committee=committee,
    )


def make_subject(
    model: LoadedModel,
    *,
    phases: Mapping[str, Atoms] | None,
    labelled: Sequence[Atoms],
    labelled_as: str = "labels",
    base: LoadedModel | None,
    base_shifts_eV: Mapping[str, float] | None = None,
    has_zero_of_labels: bool = False,
    config: SuiteConfig,
    pressures_GPa: Sequence[float],
    temperatures_K: Sequence[float],
    trained_on: Sequence[Atoms] = (),
    volumes: Sequence[Atoms] = (),
    committee: LoadedModel | None = None,
    committee_learnt: Sequence[frozenset[str]] = (),
    negligible: ValidationConfig | None = None,
) -> Subject:
    """Put together what is judged, see `run_suite`.

    Raises `ConfigError` where settings name a phase that does not exist.
    """
    _require_results(labelled)
    seeds = dict(phases) if phases else crystals_of(labelled)
    if not seeds and not labelled:
        raise StructureError(
            "neither crystals nor labelled structures were given; the suite needs one of them"
        )
    for key_path, problem in config.unknown_phases(seeds):
        raise ConfigError(f"{'.'.join(key_path)}: {problem}")
    for known in filter(None, (model, base)):
        known.check_species([*seeds.values(), *labelled, *trained_on])
    regime = tuple(sorted(set(config.pressures_GPa or pressures_GPa or (0.0,))))
    return Subject(
        model=model,
        committee=model if model.members else committee,
        committee_learnt=tuple(committee_learnt),
        seeds=seeds,
        labelled=tuple(labelled),
        labelled_as=labelled_as,
        trained_on=tuple(trained_on),
        volumes=tuple(volumes),
        base=base,
        base_shifts_eV=base_shifts_eV,
        has_zero_of_labels=has_zero_of_labels,
        pressures_GPa=tuple(float(pressure) for pressure in regime),
        temperatures_K=tuple(temperatures_K) or (300.0,),
        more_pressures_GPa=pressures_of(config.phase_order, regime),
        negligible=negligible or ValidationConfig(),
    )


def _require_results(labelled: Sequence[Atoms]) -> None:
    """Raise `StructureError` for a label without energy or forces."""
    for index, atoms in enumerate(labelled):
        try:
            for read in (energy_of, forces_of):
                read(atoms)
        except (RuntimeError, PropertyNotImplementedError) as error:
            message = "{structure} of the labels has no energy or no forces; leave it out"
            raise StructureError(message, index) from error


def judge(
    subject: Subject,
    config: SuiteConfig,
    *,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Make all checks that are enabled, or take them from `folder`; see `run_suite`."""
    place = None if folder is None else Path(folder)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    tell: Progress = progress or (lambda *_: None)
    fingerprint = "" if place is None else subject.fingerprint()
    regime = f"{subject.pressures_GPa} {subject.more_pressures_GPa} {subject.temperatures_K}"
    results: list[CheckResult] = []
    seconds: dict[str, float] = {}
    for check in CHECKS:
        settings = check.settings(config)
        if not settings.enabled:
            continue
        key = key_of(settings, fingerprint, regime)
        stored = read_stored(place, check.name, key)
        if stored is None:
            tell(check.name, check.description, None)
            began = time.monotonic()
            found = _make(check, subject, settings)
            seconds[check.name] = time.monotonic() - began
            write_stored(place, check.name, key, found, seconds[check.name])
        else:
            found, seconds[check.name] = stored.results, stored.seconds
        tell(check.name, check.description, found)
        results += found
    return SuiteResult(
        model=subject.model.name,
        against="" if subject.base is None else subject.base.name,
        checks=tuple(results),
        seconds=seconds,
        settings=config.model_dump(mode="json"),
        entrove_version=__version__,
    )


def _make(check: Check, subject: Subject, settings: CheckSettings) -> tuple[CheckResult, ...]:
    """Make a check; a model that refuses its structures may well be judged by the others."""
    try:
        return tuple(check.make(subject, settings))
    except (StructureError, ModelError) as error:
        if isinstance(error, ModelError) and not _can_be_judged(subject):
            raise
        return (not_applicable(check.name, "", str(error)),)


def _can_be_judged(subject: Subject) -> bool:
    """Whether each model can evaluate at least one of the structures that it is judged on."""
    structures = [*subject.seeds.values(), *subject.labelled]
    return all(
        any(_evaluates(model, atoms) for atoms in structures)
        for model in filter(None, (subject.model, subject.base))
    )


def _evaluates(model: LoadedModel, atoms: Atoms) -> bool:
    try:
        predict(model, [atoms])
    except (StructureError, ModelError):
        return False
    return True
