"""The configuration of a campaign: the settings of every stage, composed."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from entrove.entropy.config import EntropyConfig
from entrove.fingerprints.config import FingerprintConfig
from entrove.labelling.config import LabellingConfig
from entrove.provenance import IMPORTED
from entrove.sampling.config import BiasSettings, SamplingConfig
from entrove.selection.config import SelectionConfig
from entrove.settings import Settings
from entrove.training.config import TrainingConfig
from entrove.validation.config import ValidationConfig
from entrove.validation.suite.config import SuiteConfig

Pressure = Annotated[float, Field(ge=-50, le=10_000)]
Temperature = Annotated[float, Field(gt=0, le=100_000)]
Repeats = Annotated[int, Field(ge=1, le=100)]
ModelName = Annotated[str, Field(min_length=1)]


RESERVED_PHASES = {
    "all": "it is that of total rows in tables of errors",
    IMPORTED: "it is that of labels of 'entrove import --train'",
}
"""Names that no phase may have, and why."""


def require_free(phase: str) -> None:
    """Raise `ValueError` for a name that no phase may have."""
    if phase in RESERVED_PHASES:
        raise ValueError(
            f"no phase can be called {phase}: {RESERVED_PHASES[phase]}; give it any other name, "
            f"such as {phase}_1"
        )


class SeedConfig(Settings):
    """A phase to start from."""

    phase: str = Field(
        min_length=1,
        max_length=60,
        pattern=r"^[\w.+-]+$",
        description="Name of the phase: letters, digits and ._+- only; not "
        f"{' or '.join(RESERVED_PHASES)}.",
    )
    file: str = Field(
        min_length=1,
        description="Structure file that ASE can read, relative to this configuration.",
    )
    index: int = Field(
        default=0, description="Which structure of the file, counted from 0; -1 is the last."
    )
    repeat: tuple[Repeats, Repeats, Repeats] = Field(
        default=(1, 1, 1),
        description="How often the cell is repeated along each of its vectors; a cell of one atom "
        "needs it, because the force on an only atom is always zero.",
    )

    @field_validator("phase")
    @classmethod
    def _is_not_reserved(cls, phase: str) -> str:
        require_free(phase)
        return phase


class RegimeConfig(Settings):
    """Where the potential will be used: each pressure is combined with each temperature."""

    pressures_GPa: tuple[Pressure, ...] = Field(
        default=(0.0,),
        min_length=1,
        description="Pressures in GPa; each phase is relaxed at each of them.",
    )
    temperatures_K: tuple[Temperature, ...] = Field(
        default=(300.0, 1000.0), min_length=1, description="Temperatures of the walkers in K."
    )

    non_magnetic: bool = Field(
        default=False,
        description="true: label Cr, Mn, Fe, Co, Ni and their compounds without spin "
        "polarisation, as if they were not magnetic.",
    )

    @model_validator(mode="after")
    def _no_repeats(self) -> "RegimeConfig":
        for name in ("pressures_GPa", "temperatures_K"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(
                    f"{name} names a value twice, and its walkers would run twice; remove one"
                )
        return self


class ModelConfig(Settings):
    """The foundation model that is tuned to the labels, and the model that explores."""

    name: str = Field(
        default="7net-0",
        min_length=1,
        description="The model that is tuned: a packaged name (7net-0, 7net-l3i5, ...), a "
        "checkpoint (.pth, .ckpt), a NequIP or Allegro package (.nequip.zip), or a model bundle "
        "of an earlier campaign. Files are relative to this configuration.",
    )
    explore_with: ModelName | tuple[ModelName, ...] | None = Field(
        default=None,
        description="The model that explores, in relaxations and MD. Empty: the model above in "
        "the first round, and the best tuned one afterwards. A model given here explores in every "
        "round and is never tuned: any model, including a compiled one (.nequip.pt2) or "
        "'module:factory' of an ASE calculator or torch-sim model. A list is a committee, whose "
        "mean explores.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run; auto uses CUDA where it is available."
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads of exploration and training; 0 uses all cores that this process "
        "may use.",
    )
    verify_batching: Literal["stop", "fall_back"] = Field(
        default="stop",
        description="What to do when a batched model (foundation, exploring or tuned) disagrees "
        "with its own ASE calculator on the seeds: stop and list the differences, or fall back to "
        "the ASE calculator, one structure at a time.",
    )

    @field_validator("explore_with")
    @classmethod
    def _committee_has_members(
        cls, given: str | tuple[str, ...] | None
    ) -> str | tuple[str, ...] | None:
        if isinstance(given, tuple) and len(given) < 2:
            raise ValueError(
                f"a committee needs at least two members, got {len(given)}; give a single model "
                "as text, without a list"
            )
        return given


class StoppingConfig(Settings):
    """When the campaign stops; the first condition that holds ends it."""

    rounds: int = Field(
        default=5, ge=1, le=1000, description="Largest number of rounds of explore, label, train."
    )
    labels: int | None = Field(
        default=None,
        ge=1,
        description="Largest number of training labels that converged; quarantined labels, and "
        "those released from quarantine, are computed in addition. Empty for no limit.",
    )
    least_gain_nats: float | None = Field(
        default=None,
        ge=0,
        description="Stop when the labels of the next round, from the second on, would add less "
        "information than this on average, in nats per label. That falls with the number of "
        "labels, whatever the model has learned: least_improvement asks the model.",
    )
    least_predicted_improvement: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Stop before the labels of a round, from the second on, when they are "
        "predicted to lower the error of what the potential will be used for by less than this "
        "fraction. Needs entropy.kind labels and the objective target.",
    )
    least_improvement: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Stop when the force MAE on the validation set is not at least this fraction "
        "below the smallest of the rounds before, the untuned model's included, or when the "
        "difference is within the confidence interval.",
    )
    force_mae_meV_per_A: float | None = Field(
        default=None,
        gt=0,
        description="Stop when the force MAE of an accepted model on the validation set is at "
        "most this, in meV/A, the upper end of its confidence interval included.",
    )
    predicted_force_rmse_meV_per_A: float | None = Field(
        default=None,
        gt=0,
        description="Stop before the labels of a round when the committee predicts at most this "
        "root mean square error of force components on the round's unbiased snapshots, in meV/A: "
        "its spread, times the factor that fits spreads to errors on training labels that members "
        "left out. Needs training.member_labels below 1.",
    )


class CampaignConfig(Settings):
    """A campaign: where it starts, what it covers, and the settings of each stage."""

    name: str = Field(
        min_length=1,
        max_length=60,
        pattern=r"^[\w.+-]+$",
        description="Name of the campaign: letters, digits and ._+- only.",
    )
    folder: str = Field(
        default="campaign",
        min_length=1,
        description="Folder of the campaign, relative to this configuration.",
    )
    random_seed: int = Field(
        default=1, ge=0, lt=2**31, description="Seed of all random numbers of the campaign."
    )
    control: Literal["random_md"] | None = Field(
        default=None,
        description="random_md: run this campaign as the control arm to compare with, random "
        "picks from plain MD and the anchors. Biases, ordered cells, quotas and method are set "
        "accordingly, and keys that need gains are left out (selection.least_gain, "
        "stopping.least_predicted_improvement), with as many walkers and labels and the same "
        "anchors and validation set. Give it a folder of its own.",
    )
    seeds: tuple[SeedConfig, ...] = Field(
        min_length=1, description="Crystals to start from, one per phase."
    )
    regime: RegimeConfig = Field(
        default=RegimeConfig(), description="Pressures and temperatures to cover."
    )
    model: ModelConfig = Field(
        default=ModelConfig(), description="The model that is tuned, and the one that explores."
    )
    fingerprint: FingerprintConfig = Field(
        default=FingerprintConfig(), description="How the surroundings of an atom are described."
    )
    entropy: EntropyConfig = Field(
        default=EntropyConfig(),
        description="The entropy that selects, and the parameters of the entropies that bias.",
    )
    sampling: SamplingConfig = Field(
        default=SamplingConfig(), description="Exploration by biased MD."
    )
    selection: SelectionConfig = Field(
        default=SelectionConfig(), description="Which candidates are worth a label."
    )
    labelling: LabellingConfig = Field(
        default=LabellingConfig(), description="The engine that labels, and where it runs."
    )
    training: TrainingConfig = Field(
        default=TrainingConfig(), description="How the potential is tuned."
    )
    validation: ValidationConfig = Field(
        default=ValidationConfig(), description="When a tuned model is kept, and what is worse."
    )
    suite: SuiteConfig = Field(
        default=SuiteConfig(),
        description="Checks of the model that is kept, at the end; 'entrove validate' makes the "
        "same ones of any model.",
    )
    stopping: StoppingConfig = Field(default=StoppingConfig(), description="When to stop.")

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools that candidates come from."""
        ordered = self.sampling.ordered.perturbed + self.sampling.ordered.random > 0
        return ("entropy_md", "anchors", *(("ordered",) if ordered else ()))

    @property
    def keys_for_gains(self) -> tuple[str, ...]:
        """The keys by which the method "auto" is that of gains."""
        of_entropy = ("entropy.kind",) if self.entropy.kind != "labels" else ()
        of_selection = tuple(f"selection.{key}" for key in self.selection.keys_for_gains)
        wanted = self.stopping.least_predicted_improvement
        of_stopping = ("stopping.least_predicted_improvement",) if wanted is not None else ()
        return of_entropy + of_selection + of_stopping

    @property
    def selecting(self) -> SelectionConfig:
        """The selection, with the method "auto" decided."""
        if self.selection.method != "auto":
            return self.selection
        method = "gain" if self.keys_for_gains else "representative"
        return self.selection.model_copy(update={"method": method})

    def describe_selection(self) -> str:
        """Return the method of the selection and what decided it, as a line for people."""
        method, keys = self.selecting.method, self.keys_for_gains
        if self.control is not None:
            return f"selection.method is {method}, by control: {self.control}"
        if self.selection.method != "auto":
            return f"selection.method is {method}"
        if not keys:
            return f"selection.method auto is {method} here: no key asks for gains"
        without = "it" if len(keys) == 1 else "them"
        return (
            f"selection.method auto is {method} here, because of {' and '.join(keys)}; "
            f"without {without} it would be representative"
        )

    @property
    def gains_in_nats(self) -> bool:
        """Whether the gains of the selection are information; else variance or a distance."""
        selection = self.selecting
        informs = self.entropy.kind != "labels" or selection.objective == "information"
        return selection.by_gain and informs

    def resolve_control(self) -> "CampaignConfig":
        """Return this configuration with all that `control` stands for set, the same without it.

        Plain MD gets a walker for each strength of a bias; done twice, it changes nothing more.
        The result is validated like what a file says, so that it can be stored and read again.
        Raises `pydantic.ValidationError` when it is not valid.
        """
        if self.control is None:
            return self
        per_start = sum(
            max(1, len(bias.kappas_eV) + len(bias.fractions)) for bias in self.sampling.biases
        )
        sampling = self.sampling.model_copy(
            update={
                "biases": (BiasSettings(entropy="none"),),
                "replicas": self.sampling.replicas * per_start,
                "ordered": self.sampling.ordered.model_copy(update={"perturbed": 0, "random": 0}),
            }
        )
        selection = self.selection.model_copy(
            update={"method": "random", "quotas": {}, "least_gain": None, "rank_by": "auto"}
        )
        stopping = self.stopping.model_copy(update={"least_predicted_improvement": None})
        resolved = self.model_copy(
            update={"sampling": sampling, "selection": selection, "stopping": stopping}
        )
        # model_copy validates nothing.
        return type(self).model_validate(resolved.model_dump(exclude_unset=True))

    @field_validator("entropy")
    @classmethod
    def _selecting_entropy_knows_a_dataset(cls, entropy: EntropyConfig) -> EntropyConfig:
        if entropy.kind not in ("information", "paper", "labels"):
            raise ValueError(
                f"kind '{entropy.kind}' knows no dataset, so it cannot select; give 'information' "
                f"or 'paper' here, or 'labels' ('{entropy.kind}' can bias walkers, under "
                "sampling.biases)"
            )
        return entropy

    @model_validator(mode="after")
    def _selection_has_what_it_needs(self) -> "CampaignConfig":
        selection = self.selecting
        if selection.by_gain and selection.least_gain is not None and not self.gains_in_nats:
            raise ValueError(
                f"selection.least_gain={selection.least_gain:g} is in nats, but the objective "
                "'target' is no information; remove it, or set selection.objective to "
                "'information'"
            )
        if selection.method == "committee_spread" and not isinstance(
            self.model.explore_with, tuple
        ):
            raise ValueError(
                "selection.method committee_spread needs several models that explore; give at "
                "least two as model.explore_with: [first, second]"
            )
        wanted = self.stopping.least_predicted_improvement
        if wanted is not None and (self.gains_in_nats or not selection.by_gain):
            raise ValueError(
                f"stopping.least_predicted_improvement={wanted:g} needs a selection for a target "
                "(entropy.kind labels, selection.objective target, selection.method gain); remove "
                "it, or give stopping.least_improvement"
            )
        return self

    @model_validator(mode="after")
    def _committee_can_be_calibrated(self) -> "CampaignConfig":
        wanted = self.stopping.predicted_force_rmse_meV_per_A
        if wanted is not None and self.training.left_out_by == 0:
            raise ValueError(
                f"stopping.predicted_force_rmse_meV_per_A={wanted:g} needs a committee whose "
                "members leave out labels, on which its spread is calibrated; set "
                "training.committee_size to 5 and training.member_labels to 0.5, or give "
                "stopping.force_mae_meV_per_A"
            )
        return self

    @model_validator(mode="after")
    def _phases_differ(self) -> "CampaignConfig":
        phases = [seed.phase for seed in self.seeds]
        repeated = sorted({phase for phase in phases if phases.count(phase) > 1})
        if repeated:
            raise ValueError(
                f"seeds: the phase name {', '.join(repeated)} is used twice; give each seed its "
                "own phase name"
            )
        return self
