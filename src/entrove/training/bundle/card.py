"""The text of MODEL_CARD.md: the record of a bundle, for people, in plain Markdown."""

from collections.abc import Iterable, Sequence

from entrove.models.registry import framework_named
from entrove.training.bundle.record import ALL, NOT_RECORDED, Bundle, PartErrors
from entrove.training.config import LoraConfig

SHOWN = (
    ("energy_mae_meV_per_atom", "Energy (meV/atom)"),
    ("force_mae_meV_per_A", "Forces (meV/Å)"),
    ("stress_mae_meV_per_A3", "Stress (meV/Å³)"),
)
"""Mean absolute errors in the table of the card; bundle.json has all."""

SETTINGS_SHOWN = {
    "strategy": "strategy",
    "learning_rate": "learning rate",
    "epochs": "most epochs",
    "batch_size": "batch size",
    "replay": "replay",
    "committee_size": "committee size",
}
"""Settings of the training in the table of the card."""

CROSS_VALIDATION = (
    "Each was trained on the training labels without one fold, and judged by the loss on that "
    "fold. The untuned model has reference energies of the same labels."
)

METHOD = (
    "M. Wang, R. Rao and L. Zhu, *Dataset-aware entropy-maximized active learning for "
    "machine-learned interatomic potentials*, arXiv:2605.20384 (2026)"
)


def write_card(bundle: Bundle) -> str:
    """Return the model card of a bundle as Markdown.

    Args:
        bundle: The record of the bundle.

    Every number in it is one of the record.
    """
    sections = [
        f"# {_title(bundle)}",
        _what_it_is(bundle),
        "## Where it may be used",
        _regime(bundle),
        "## Data",
        _data(bundle),
        *(["## Training", _training(bundle)] if bundle.training_settings else []),
        "## Errors",
        _errors(bundle),
        *(["## Checks", _checks(bundle)] if bundle.checks else []),
        "## Limits",
        _limits(bundle),
        "## How to load it",
        _how_to_load(bundle),
        "## Versions and licence",
        _versions(bundle),
        "## Citation",
        _citation(bundle),
    ]
    return "\n\n".join(sections) + "\n"


def _title(bundle: Bundle) -> str:
    name = bundle.name or "-".join(bundle.species)
    return f"{name}: {bundle.foundation_model}, {bundle.how_trained}"


def _what_it_is(bundle: Bundle) -> str:
    members = len(bundle.weights)
    committee = f" It comes with {members - 1} more members of a committee." if members > 1 else ""
    fidelity = f", fidelity {bundle.modal}" if bundle.modal else ""
    return (
        f"A machine-learned interatomic potential for {', '.join(bundle.species)}: "
        f"{bundle.foundation_model}{fidelity} ({bundle.framework}), {bundle.how_trained} on "
        f"{bundle.training_labels} labels.{committee} It gives energy (eV), forces (eV/Å) and "
        "stress (eV/Å³). Energies are those of the level of theory below; nothing has to be added."
        f"\n\nWritten {bundle.created_utc} by Entrove {bundle.entrove_version}. "
        f"{_accepted(bundle)}"
    )


def _accepted(bundle: Bundle) -> str:
    if bundle.random_weights:
        return "There is no foundation model to compare it with."
    accepted = bundle.accepted
    if accepted is None:
        return "It was not compared with the foundation model."
    verdict = "was accepted" if accepted else "was NOT accepted"
    return f"It {verdict} against the foundation model on validation labels."


def _regime(bundle: Bundle) -> str:
    return _table(
        ("", "trained and validated" if bundle.is_validated else "trained"),
        [("elements", ", ".join(bundle.species)), *bundle.regime.describe().items()],
    )


def _data(bundle: Bundle) -> str:
    rows = [
        ("level of theory", bundle.level_of_theory),
        ("its hash", _hash(bundle.level_of_theory_hash)),
        ("training labels", str(bundle.training_labels)),
        ("hash of the training set", f"`{bundle.training_set_hash}`"),
    ]
    for name, parts, found in (
        ("validation", bundle.validation, bundle.validation_set_hash),
        ("test", bundle.test, bundle.test_set_hash),
    ):
        rows += [(f"{name} labels", str(row.structures)) for row in parts if _is_total(row)]
        rows += [(f"hash of the {name} set", f"`{found}`")] if found else []
    shifts = ", ".join(
        f"{symbol} {shift:+.4f}" for symbol, shift in bundle.reference_shifts_eV.items()
    )
    if shifts:
        rows.append(("shift of reference energies (eV per atom, in the weights)", shifts))
    text = _table(("", ""), rows)
    if bundle.training_structures:
        text += "\n\n" + _table(
            ("training labels of", "number"),
            [(part, str(count)) for part, count in bundle.training_structures.items()],
        )
    return text


def _hash(text: str) -> str:
    return f"`{text}`" if text else NOT_RECORDED


def _training(bundle: Bundle) -> str:
    settings, choice = bundle.training_settings, bundle.learning_rate_choice
    rows = [
        (name, str(settings[key])) for key, name in SETTINGS_SHOWN.items() if settings.get(key)
    ]
    if settings.get("strategy") == "lora":
        lora = LoraConfig.model_validate(settings.get("lora") or {})
        rows.append(("low-rank updates", f"rank {lora.rank}, alpha {lora.alpha:g}"))
    text = _table(("", ""), rows) + "\n\n`bundle.json` has all settings under `training_settings`."
    if choice is None:
        return text
    text += f"\n\nHow these were chosen: {choice.describe()}."
    if not choice.tried:
        return text
    return f"{text}\n\n{CROSS_VALIDATION}\n\n" + _table(
        ("strategy", "learning rate", "loss on each fold", "mean", "standard error"),
        [
            (
                row.strategy,
                row.settings or "-",
                ", ".join(_loss(loss) for loss in row.fold_losses),
                _loss(row.mean),
                "-" if row.standard_error is None else f"{row.standard_error:.2g}",
            )
            for row in choice.tried
        ],
    )


def _loss(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.3g}"


def _is_total(row: PartErrors) -> bool:
    return row.phase == row.kind == ALL


def _errors(bundle: Bundle) -> str:
    sections = []
    if bundle.test:
        sections += [
            "On test labels, which took no part in any decision; these are the errors to quote.",
            _error_table(bundle.test),
        ]
    if bundle.validation:
        role = ", but chose this model among those of all rounds"
        sections += [
            "On validation labels, which took no part in training"
            f"{role if bundle.chosen_on_validation else ''}.",
            _error_table(bundle.validation),
        ]
    if sections:
        what = (
            "Mean absolute errors: untuned → this potential; in brackets the interval of 95 % "
            "confidence of the latter, where it is known. `bundle.json` has all of them, under "
            "`test` and `validation`."
        )
        return "\n\n".join([what, *sections])
    if not bundle.metrics:
        return "No errors were recorded."
    return _table(
        ("quantity", "value"), [(name, f"{value:.4g}") for name, value in bundle.metrics.items()]
    )


def _error_table(parts: Sequence[PartErrors]) -> str:
    rows = [
        (
            "all structures" if _is_total(row) else row.phase,
            "" if _is_total(row) else row.kind.replace("_", " "),
            str(row.structures),
            *(_change(row, name) for name, _ in SHOWN),
        )
        for row in parts
    ]
    return _table(("phase", "kind", "structures", *(title for _, title in SHOWN)), rows)


def _change(row: PartErrors, name: str) -> str:
    before, after = row.untuned.get(name), row.tuned.get(name)
    if after is None:
        return "-"
    low, high = row.tuned.get(f"{name}_low"), row.tuned.get(f"{name}_high")
    interval = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return ("" if before is None else f"{before:.3g} → ") + f"{after:.3g}{interval}"


def _checks(bundle: Bundle) -> str:
    words = {True: "passed", False: "FAILED", None: "for information"}
    return _table(
        ("check", "", "result"),
        [(check.name, words[check.passed], check.result) for check in bundle.checks],
    )


def _limits(bundle: Bundle) -> str:
    others = (
        "It was trained on the elements, phases, pressures and temperatures above. Outside, it "
        "is an extrapolation: other elements, surfaces, defects, melts and reactions count as "
        "outside unless they are in the training labels."
    )
    rows = bundle.test or bundle.validation
    for title, names_of in (
        ("Worse than the untuned model beyond the confidence interval", lambda row: row.worse),
        ("Errors larger than the untuned model's, within noise", lambda row: row.larger),
        ("Errors larger than the untuned model's, without a known interval", _larger_unjudged),
    ):
        found = [f"{_part(row)}, {_quantity(name)}" for row in rows for name in names_of(row)]
        if found:
            others += f"\n\n{title}: {'; '.join(found)}."
    if not bundle.checks:
        others += "\n\nNo checks of physical properties are recorded in this bundle."
    return others


def _larger_unjudged(row: PartErrors) -> list[str]:
    """Names of larger errors of parts with too few trajectories, or that are not judged alone."""
    return [
        name
        for name, _ in SHOWN
        if name not in row.judged
        and (before := row.untuned.get(name)) is not None
        and (after := row.tuned.get(name)) is not None
        and after > before
    ]


def _quantity(name: str) -> str:
    titles = {"energy_centred_mae_meV_per_atom": "centred energy"}
    return titles.get(name) or dict(SHOWN)[name].partition(" (")[0].lower()


def _part(row: PartErrors) -> str:
    parts = [part.replace("_", " ") for part in (row.phase, row.kind) if part != ALL]
    return " ".join(parts) or "all structures"


def _how_to_load(bundle: Bundle) -> str:
    packages = framework_named(bundle.framework).extra
    return (
        f"Install `pip install 'entrove[{packages}]'`, then\n\n"
        "```python\n"
        "import entrove\n\n"
        'calculator = entrove.load_model("model")                # ASE\n'
        'model = entrove.load_model("model", kind="torchsim")    # torch-sim, in batches\n'
        "```\n\n"
        "where `model` is this folder. Files for LAMMPS, with an input that runs them, are "
        "written by `entrove export model --to lammps`. The weights are files of the framework "
        f"itself ({', '.join(weights.file for weights in bundle.weights)}), which its own "
        "loaders read."
    )


def _versions(bundle: Bundle) -> str:
    rows = [(name, found) for name, found in bundle.packages.items()]
    text = _table(("package", "version"), rows) if rows else "No versions were recorded."
    if bundle.random_weights:
        licence = f"There is no foundation model; the architecture is {bundle.foundation_model}."
    else:
        licence = f"Licence of the foundation model: {bundle.foundation_licence}."
    if bundle.foundation_sha256:
        licence += f" SHA-256 of its file: {bundle.foundation_sha256}."
    return f"{text}\n\n{licence}"


def _citation(bundle: Bundle) -> str:
    framework = framework_named(bundle.framework)
    foundation = f"The foundation model {bundle.foundation_model}, and its framework"
    entries = [
        f"The method: {METHOD}",
        f"{'The framework' if bundle.random_weights else foundation}: {framework.reference}",
        "The code that computed the labels",
    ]
    return "\n".join(f"- {entry}" for entry in entries)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )
