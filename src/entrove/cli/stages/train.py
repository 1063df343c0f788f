"""`entrove train`: a potential from labels, judged on others where there are some."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms
from pydantic import ValidationError
from rich.console import Console

from entrove import provenance
from entrove.campaign.configuration.check_models import check_tuned_model
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import problem_at
from entrove.campaign.stages.validate import describe_errors
from entrove.cli.commands.options import print_json, say
from entrove.cli.curation import check_folders
from entrove.cli.stages.settings import Given
from entrove.cli.stages.structures import read_labelled, read_pool
from entrove.cli.stages.watch import Watch
from entrove.errors import ConfigError
from entrove.models.prediction import predict
from entrove.models.registry import framework_of, split_modal
from entrove.structures import content_hash, energy_of, species_of
from entrove.training.bundle import Regime, check_bundle_folder, write_bundle
from entrove.training.committee import settings_of, train_committee
from entrove.training.config import TrainingConfig
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.trained_model import TrainedModel
from entrove.validation.bundle_errors import count_parts, metrics_of, paired_errors
from entrove.validation.comparison import Comparison, compare
from entrove.validation.errors_by_kind import ErrorTable
from entrove.validation.measure import validate
from entrove.validation.splits import check_disjoint, without_hold_out
from entrove.validation.suite.crystals import crystals_of


@dataclass(frozen=True)
class Judgement:
    """Errors of the untuned and the tuned model on validation labels, and the decision."""

    untuned: ErrorTable
    tuned: ErrorTable
    comparison: Comparison


def _refuse_present_folder(out: Path) -> None:
    """Raise `ConfigError` for a folder in which the command runs: a bundle replaces its folder."""
    here = Path.cwd()
    if out.resolve() in (here, *here.parents):
        raise ConfigError(
            f"--out {out}: is the present folder or one that holds it, which a bundle cannot "
            "replace; name a folder in it"
        )


def _refuse_within(out: Path, paths: Sequence[Path]) -> None:
    """Raise `ConfigError` for what is in the folder of a bundle, which a new bundle replaces."""
    for path in paths:
        if path.resolve().is_relative_to(out.resolve()):
            raise ConfigError(
                f"--out {out}: {path} is in this folder, which the bundle replaces as a whole; "
                "choose another folder"
            )


@dataclass(frozen=True)
class TrainingFiles:
    """What a training reads.

    Attributes:
        labels: Training labels.
        held_out: Validation labels; without any the model is not judged.
        snapshots: Structures for `training.replay`.
    """

    labels: Sequence[Path]
    held_out: Sequence[Path] = ()
    snapshots: Sequence[Path] = ()


def train_files(
    files: TrainingFiles,
    out: Path,
    folder: Path | None,
    given: Given,
    *,
    as_json: bool,
) -> int:
    """Tune a model to labels, write a bundle, and return the exit status.

    That is 1 when the tuned model is not better on the validation labels. Its bundle is written
    all the same, and says so.

    Args:
        files: What it reads.
        out: Folder of the bundle.
        folder: Folder of the training, which an interrupted one continues from.
        given: Settings.
        as_json: Print numbers as JSON.
    """
    _refuse_present_folder(out)
    check_folders({"--out": out}, may_be_folders=True)
    check_bundle_folder(out)
    work = folder or out.with_name(f"{out.name}-training")
    _refuse_within(out, [work, *files.labels, *files.held_out, *files.snapshots])
    stopped = f"stopped; finished epochs are in {work}, and the same command continues from there"
    with Watch("train", "tuning the model to the labels", "epochs", stopped) as watch:
        labels = read_labelled(files.labels, watch.messages)
        validation = read_labelled(files.held_out, watch.messages) if files.held_out else []
        if validation:
            check_disjoint(labels, validation)
        level = _one_level([*labels, *validation])
        settings = _with_framework(given)
        name, foundation = check_tuned_model(given.model_place, settings, [*labels, *validation])
        snapshots = read_snapshots(
            files.snapshots, settings.training, labels, validation, watch.messages
        )
        members = _train(labels, snapshots, name, work, settings, watch)
        judged = None
        if validation:
            shifts = fit_reference_shifts(
                labels, [energy_of(atoms) for atoms in predict(foundation, labels)]
            )
            judged = _judge(name, members[0], validation, settings, shifts)
    accepted = None if judged is None else judged.comparison.accepted
    write_bundle(
        out,
        [replace(member, accepted=accepted) for member in members],
        species=species_of(labels),
        level_of_theory_hash=level,
        level_of_theory=_engines(labels),
        metrics={} if judged is None else metrics_of(judged.tuned),
        regime=_regime(labels),
        modal=split_modal(name)[1],
        name=out.name,
        training_structures=count_parts(labels),
        training_settings=settings_of(members, settings.training).model_dump(
            mode="json", exclude={"executor"}
        ),
        errors=()
        if judged is None
        else paired_errors(judged.untuned, judged.tuned, settings.validation),
        validation=validation,
        examples=examples_of(labels),
    )
    _report(members, judged, out, as_json=as_json)
    return 1 if accepted is False else 0


def examples_of(labels: Sequence[Atoms]) -> list[Atoms]:
    """Return the crystals of the labels, on which the model can be judged and tried.

    Args:
        labels: Labelled structures, at least one.

    Returns each with the name of its phase, as `entrove validate --data` finds and calls them; of
    labels without a crystal the first one that is periodic, or else the first.
    """
    crystals = crystals_of(labels)
    for name, atoms in crystals.items():
        atoms.info[provenance.PHASE] = name
    periodic = [atoms for atoms in labels if atoms.pbc.all()]
    return list(crystals.values()) or [*periodic, *labels][:1]


def read_snapshots(
    files: Sequence[Path],
    training: TrainingConfig,
    labels: Sequence[Atoms],
    validation: Sequence[Atoms],
    messages: Console,
) -> list[Atoms]:
    """Read what is replayed beside dimers: no training label, and nothing that is held out.

    Raises `ConfigError` for files that nothing would use.
    """
    if not training.replay:
        if files:
            raise ConfigError(
                "--snapshots are for replay, which is off; add --set training.replay=0.1, or "
                "remove --snapshots"
            )
        return []
    if not files:
        say("replay: dimers only; --snapshots FILE adds structures like the labels", to=messages)
        return []
    found = read_pool(files, messages, "--snapshots")
    known = {content_hash(atoms) for atoms in labels}
    fresh = [found[index] for index in without_hold_out(found, validation)]
    kept = [atoms for atoms in fresh if content_hash(atoms) not in known]
    if len(kept) < len(found):
        text = f"{len(found) - len(kept)} snapshots are left out: labelled, or nearly held out"
        say(text, to=messages)
    return kept


def _train(
    labels: list[Atoms],
    snapshots: list[Atoms],
    name: str,
    work: Path,
    settings: CampaignConfig,
    watch: Watch,
) -> tuple[TrainedModel, ...]:
    training = settings.training
    base, modal = split_modal(name)

    if training.trials:
        say(training.describe_trials(), to=watch.messages)
    return train_committee(
        labels,
        base,
        work,
        training,
        seed=settings.random_seed,
        snapshots=snapshots,
        modal=modal,
        device=settings.model.device,
        threads=settings.model.threads,
        advanced=watch.advanced,
    )


def _judge(
    name: str,
    trained: TrainedModel,
    validation: list[Atoms],
    settings: CampaignConfig,
    shifts_eV: dict[str, float],
) -> Judgement:
    """Compare the tuned model with the untuned one, its reference energies fitted."""
    modal, device = split_modal(name)[1], settings.model.device
    tuned_name = f"{trained.checkpoint}@{modal}" if modal else str(trained.checkpoint)
    untuned = validate(name, validation, device=device, reference_shifts_eV=shifts_eV).errors
    tuned = validate(tuned_name, validation, device=device, reference_shifts_eV={}).errors
    return Judgement(untuned, tuned, compare(untuned, tuned, settings.validation))


def _with_framework(given: Given) -> CampaignConfig:
    """Take the framework of the model, where the configuration does not name one.

    Raises `ConfigError` for settings that this framework does not know.
    """
    settings = given.settings
    framework = framework_of(split_modal(settings.model.name)[0])
    named = "framework" in settings.training.model_fields_set
    if framework is None or named or not framework.trainable:
        return settings
    values = settings.training.model_dump(exclude_unset=True) | {"framework": framework.name}
    try:
        training = TrainingConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            problem["msg"].removeprefix("Value error, ") for problem in error.errors()
        )
        raise problem_at(given.path, ("training",), problems) from error
    return settings.model_copy(update={"training": training})


def _one_level(labelled: Sequence[Atoms]) -> str:
    """The hash of the level of theory of labels; empty where no label tells.

    Raises `ConfigError` for labels of several levels, which cannot be one dataset.
    """
    found = {str(atoms.info.get(provenance.LEVEL_OF_THEORY, "")) for atoms in labelled}
    if len(found) > 1:
        names = ", ".join(sorted(level or "none" for level in found))
        raise ConfigError(
            f"the labels have several levels of theory ({names}), and cannot be one dataset; "
            "give files of one level ('entrove audit FILE...' shows what differs)"
        )
    return found.pop() if found else ""


def _engines(labels: Sequence[Atoms]) -> str:
    names = {str(atoms.info.get(provenance.ENGINE, "")) for atoms in labels} - {""}
    return ", ".join(sorted(names)) or "unknown: the labels do not say"


def _regime(labels: Sequence[Atoms]) -> Regime:
    """Phases, pressures and temperatures that the labels say they are of."""

    def of(key: str) -> list[str]:
        values = (atoms.info.get(key) for atoms in labels)
        return sorted({str(value) for value in values if value is not None})

    return Regime(
        phases=tuple(of(provenance.PHASE)),
        pressures_GPa=tuple(sorted(map(float, of(provenance.PRESSURE)))),
        temperatures_K=tuple(sorted(map(float, of(provenance.TEMPERATURE)))),
    )


def _report(
    members: Sequence[TrainedModel], judged: Judgement | None, out: Path, *, as_json: bool
) -> None:
    first = members[0]
    if as_json:
        print_json(
            {
                "out": str(out),
                "foundation_model": first.base,
                "training_labels": first.training_labels,
                "epochs": first.epochs_run,
                "reference_shifts_eV": first.reference_shifts_eV,
                "members": len(members),
                "learning_rate_choice": None
                if first.choice is None
                else first.choice.model_dump(mode="json"),
                "accepted": None if judged is None else judged.comparison.accepted,
                "reason": None if judged is None else judged.comparison.reason,
                "untuned": None if judged is None else metrics_of(judged.untuned),
                "tuned": None if judged is None else metrics_of(judged.tuned),
            }
        )
        return
    say(f"{first.base} was tuned to {first.training_labels} labels in {first.epochs_run} epochs")
    if first.choice is not None:
        say(first.choice.describe())
    if judged is None:
        say("not judged: give --validation FILE with labels that are not trained on")
    else:
        say(f"untuned: {describe_errors(judged.untuned)}")
        say(f"tuned:   {describe_errors(judged.tuned)}")
        say(judged.comparison.reason)
    say(f"wrote {out}; entrove.load_model, 'entrove validate' and 'entrove export' take it")
