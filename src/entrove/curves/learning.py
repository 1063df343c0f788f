"""Students: from the labels of an arm to errors on every test set."""

import importlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.curves.config import StudentConfig
from entrove.curves.hashing import digest, digest_labels, hashes_of_modules
from entrove.errors import ConfigError, ModelError
from entrove.files import hash_of_file, replace_text
from entrove.models.prediction import predict
from entrove.models.registry import load, split_modal
from entrove.structures import attach_results, energy_of, forces_of, has_stress, stress_of
from entrove.training.job import Epoch
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.trainers import trainer_for
from entrove.training.tuning import fine_tune
from entrove.validation.errors_by_kind import ALL, ErrorRow, errors_by_kind

LOWEST = "lowest quarter"
"""Name of the group of the lowest quarter of energies per atom of a test set."""

LEFT_BY_TRAINING = ("*.pt", "*.ckpt")
"""Files that only an unfinished training needs."""

Predict = Callable[[Sequence[Atoms]], list[Atoms]]


@dataclass(frozen=True)
class GroupErrors:
    """Mean absolute errors of a student on a group of a test set.

    Attributes:
        group: A kind of structure, `ALL`, or `LOWEST`.
        structures: Number of structures.
        energy, energy_centred: meV/atom, as predicted and after a shift per composition.
        force, stress: meV/A and meV/A^3. Each error is NaN where the group has none.
    """

    group: str
    structures: int
    energy: float
    energy_centred: float
    force: float
    stress: float

    @classmethod
    def of(cls, group: str, row: ErrorRow) -> "GroupErrors":
        """Take the errors of a row of `errors_by_kind`."""
        return cls(
            group,
            row.structures,
            row.energy_mae_meV_per_atom,
            row.energy_centred_mae_meV_per_atom,
            row.force_mae_meV_per_A,
            row.stress_mae_meV_per_A3,
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "GroupErrors":
        """Read what `to_dict` gave; files of earlier versions have NaN where it has None."""
        known: dict[str, Any] = {k: math.nan if of is None else of for k, of in fields.items()}
        return cls(**known)

    def to_dict(self) -> dict[str, str | int | float | None]:
        """The values for a JSON file, which has no NaN: an unknown error is None."""
        fields = vars(self).items()
        return {
            key: of if isinstance(of, str) or math.isfinite(of) else None for key, of in fields
        }


TestErrors = dict[str, list[GroupErrors]]
"""Errors by test set."""


@dataclass(frozen=True)
class Classroom:
    """Trains students and tests them; what was tested once is read from its file.

    Attributes:
        folder: Where trainings and errors are kept.
        study_folder: Folder of the study's file, from which paths and functions are resolved.
        device, threads: Where and on how many threads training runs.
    """

    folder: Path
    study_folder: Path
    device: str
    threads: int

    def check(self, name: str, student: StudentConfig) -> None:
        """Find what a student starts from, before anything takes time.

        Args:
            name: Its name, for messages.
            student: Its settings.

        Raises `ConfigError` when its base cannot be found, trained or, where it is not tuned,
        loaded, or when its function cannot be imported.
        """
        if student.function is not None:
            _find_function(student.function, self.study_folder)
            return
        base, fidelity = self._base(student)
        try:
            if student.tune:
                trainer_for(student.training.framework).find_starting_model(str(base))
            else:
                load(_with_fidelity(base, fidelity), device=self.device)
        except ModelError as error:
            raise ConfigError(f"students.{name}.base: {error}") from error

    def teach_and_test(
        self,
        student: StudentConfig,
        labelled: Sequence[Atoms],
        tests: Mapping[str, Sequence[Atoms]],
        seed: int,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> TestErrors:
        """Train a student on labels and return its errors on each test set."""
        student = _with_epochs(student, labelled)
        key = self._key(student, labelled, seed)
        files = self._error_files(key, tests)
        if not all(file.is_file() for file in files.values()):
            predicts = self._teach(
                student, labelled, self.folder / "trained" / key, seed, on_epoch
            )
            for name, file in files.items():
                if not file.is_file():
                    _write_errors(file, test_errors(tests[name], predicts(tests[name])))
        return {name: _read_errors(file) for name, file in files.items()}

    def tested(
        self,
        student: StudentConfig,
        labelled: Sequence[Atoms],
        tests: Mapping[str, Sequence[Atoms]],
        seed: int,
    ) -> TestErrors:
        """Errors that `teach_and_test` has found before on these labels, by test set."""
        key = self._key(_with_epochs(student, labelled), labelled, seed)
        files = self._error_files(key, tests)
        return {name: _read_errors(file) for name, file in files.items() if file.is_file()}

    def _key(self, student: StudentConfig, labelled: Sequence[Atoms], seed: int) -> str:
        """Hash of all that a trained student depends on."""
        settings = student.model_dump(
            mode="json",
            exclude={
                "counts": True,
                "arms": True,
                "tune": student.tune,
                "training": set(student.training.unread) if student.tune else True,
            },
        )
        return digest(settings, seed, digest_labels(labelled), *self._files(student))

    def _error_files(self, key: str, tests: Mapping[str, Sequence[Atoms]]) -> dict[str, Path]:
        return {
            name: self.folder / "errors" / f"{key}-{digest_labels(structures)[:12]}.json"
            for name, structures in tests.items()
        }

    def _files(self, student: StudentConfig) -> list[str]:
        """Hashes of the files that decide what a student is: when one changes, it learns anew."""
        if student.function is not None:
            function = _find_function(student.function, self.study_folder)
            return [hash_of_file(file) for file in _sources_of(student.function, function)]
        base, _ = self._base(student)
        return [hash_of_file(base)] if isinstance(base, Path) else hashes_of_modules([base])

    def _teach(
        self,
        student: StudentConfig,
        labelled: Sequence[Atoms],
        folder: Path,
        seed: int,
        on_epoch: Callable[[Epoch], None] | None,
    ) -> Predict:
        if student.function is not None:
            calculator = _find_function(student.function, self.study_folder)(
                list(labelled), **student.options
            )
            return lambda structures: [_evaluate(calculator, atoms) for atoms in structures]
        if not student.tune:
            return self._untuned(student, labelled)
        config = student.training
        if student.structures_seen is not None:
            epochs = max(1, math.ceil(student.structures_seen / len(labelled)))
            config = config.model_copy(update={"epochs": epochs})
        base, fidelity = self._base(student)
        trained = fine_tune(
            labelled,
            base,
            folder,
            config,
            seed=seed,
            modal=fidelity,
            device=self.device,
            threads=self.threads,
            on_epoch=on_epoch,
        )
        for pattern in LEFT_BY_TRAINING:
            for file in folder.glob(pattern):
                if file != trained.checkpoint:
                    file.unlink()
        model = load(_with_fidelity(trained.checkpoint, fidelity), device=self.device)
        return lambda structures: predict(model, structures)

    def _base(self, student: StudentConfig) -> tuple[str | Path, str | None]:
        """A file beside the study, or the name of a model; and its fidelity."""
        assert student.base is not None
        base, fidelity = split_modal(student.base, self.study_folder)
        file = self.study_folder / base
        return file if file.is_file() else base, fidelity

    def _untuned(self, student: StudentConfig, labelled: Sequence[Atoms]) -> Predict:
        """The base, with the energies of its elements fitted to the labels."""
        model = load(_with_fidelity(*self._base(student)), device=self.device)
        energies = [energy_of(atoms) for atoms in predict(model, labelled)]
        shifts = fit_reference_shifts(labelled, energies)
        return lambda structures: [_shifted(a, shifts) for a in predict(model, structures)]


def test_errors(reference: Sequence[Atoms], predicted: Sequence[Atoms]) -> list[GroupErrors]:
    """Errors on a test set: of all of it, of each kind, and of its lowest quarter of energies."""
    table = errors_by_kind(reference, predicted)
    found = [GroupErrors.of(row.kind, row) for row in table.rows if row.phase == ALL]
    per_atom = np.array([energy_of(atoms) / len(atoms) for atoms in reference])
    lowest = np.argsort(per_atom, kind="stable")[: math.ceil(len(reference) / 4)].tolist()
    low = errors_by_kind([reference[i] for i in lowest], [predicted[i] for i in lowest])
    return [*found, GroupErrors.of(LOWEST, low.total)]


def _with_epochs(student: StudentConfig, labelled: Sequence[Atoms]) -> StudentConfig:
    # The number of epochs counts, and not how it is chosen, which a newer version may change.
    return student.model_copy(update={"training": student.training.for_labels(len(labelled))})


def _find_function(name: str, folder: Path) -> Callable[..., object]:
    module_name, _, function = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"student function {name}: cannot be imported ({error}); give 'module:function' of a "
            "module that is installed or lies beside the study"
        ) from error


def _sources_of(name: str, function: Callable[..., object]) -> list[Path]:
    """The file of the module that has a function, and the one that defines it, where others do.

    A decorated function may be defined by the module of its decorator, and a `partial` by none.
    """
    files = {sys.modules[name.partition(":")[0]].__file__}
    if inspect.isfunction(function):
        files.add(inspect.getfile(inspect.unwrap(function)))
    return sorted(Path(file) for file in files if file is not None)


def _with_fidelity(model: str | Path, fidelity: str | None) -> str:
    return str(model) if fidelity is None else f"{model}@{fidelity}"


def _evaluate(calculator: object, atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = calculator  # type: ignore[assignment]
    energy, forces = energy_of(copy), forces_of(copy)
    try:
        # Of other structures no stress is compared, and many calculators have none.
        stress = stress_of(copy) if copy.pbc.all() else np.zeros(6)
    except PropertyNotImplementedError:
        copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
        return copy
    return attach_results(copy, energy, forces, stress)


def _shifted(predicted: Atoms, shifts_eV: Mapping[str, float]) -> Atoms:
    energy = energy_of(predicted) + sum(shifts_eV.get(s, 0.0) for s in predicted.symbols)
    if not has_stress(predicted):
        results = {"energy": energy, "forces": forces_of(predicted)}
        predicted = predicted.copy()
        predicted.calc = SinglePointCalculator(predicted, **results)
        return predicted
    return attach_results(predicted, energy, forces_of(predicted), stress_of(predicted))


def _write_errors(file: Path, errors: Sequence[GroupErrors]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps([error.to_dict() for error in errors], indent=1))


def _read_errors(file: Path) -> list[GroupErrors]:
    return [GroupErrors.from_dict(fields) for fields in json.loads(file.read_text())]
