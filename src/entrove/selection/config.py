"""Settings of the selection."""

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from entrove.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class SelectionConfig(Settings):
    """How candidates are picked for labelling."""

    count: int = Field(default=24, ge=1, description="Labels per round.")
    method: Literal[
        "auto", "gain", "representative", "lcmd", "farthest_point", "committee_spread", "random"
    ] = Field(
        default="auto",
        description="representative: atomic environments distributed like those of the regime, "
        "in features of the model or fingerprints; gain: what adds most to the dataset, one "
        "after the other; auto: representative where entropy.kind is labels and no setting that "
        "only gains have is given (objective information, quotas, another phase_share, "
        "least_gain, rank_by gain_per_second, stopping.least_predicted_improvement), otherwise "
        "gain; lcmd (largest cluster, maximum distance), farthest_point, committee_spread "
        "(largest disagreement about the force on an atom; needs a committee as "
        "model.explore_with) and random are control arms, to compare with.",
    )
    objective: Literal["target", "information"] = Field(
        default="target",
        description="With entropy.kind labels and method gain, what a gain is. target: by how "
        "much the labels lower the mean predicted variance of what the potential will be used "
        "for; information: what they tell about the weights of the model, in nats, which seeks "
        "the extremes.",
    )
    features: Literal["auto", "model", "gradients", "fingerprint"] = Field(
        default="auto",
        description="With entropy.kind labels, the features of its rows. gradients: a sketch of "
        "the gradients of the tuned model's energy by all weights; model: its last "
        "layer; fingerprint: those of the section fingerprint; auto: the first of these that the "
        "model has, without gradients for method representative.",
    )
    pool_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="With objective target or method representative, the weight of the candidates "
        "themselves in the sample of what is to be predicted, beside its thermal, strained and "
        "sheared anchors, so that nothing that was sampled is without weight; for method "
        "representative that of the other candidates, relaxed cells among them and without "
        "snapshots of biased walkers, however many they are. null: 0.25, and 0.6 for method "
        "representative.",
    )
    budget_s: float | None = Field(
        default=None,
        gt=0,
        description="Most engine seconds that the labels of a round are predicted to take, beside "
        "count; null: no limit.",
    )
    quotas: dict[str, Share] = Field(
        default={},
        description="Share of the places of a round that is reserved for each pool; the sum is "
        "at most 1, and what is not reserved goes to the best candidates of any pool.",
    )
    phase_share: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="With method gain, share of the places of a round that is reserved evenly "
        "for the phases, so that labels do not pile up in one; the others go to the best "
        "candidates of any phase, as do places of a phase that has no candidate left. 0: phases "
        "compete freely. Representative picks come in the proportions of the regime.",
    )
    fill_unused: bool = Field(
        default=True,
        description="true: places reserved for a pool that has no candidate left go to the other "
        "pools; false: they stay empty.",
    )
    duplicate_tolerance: float = Field(
        default=1e-2,
        ge=0,
        lt=1,
        description="Two candidates of one composition whose feature rows differ by less than "
        "this fraction of the spread of the pool, root mean square, are near-duplicates: only "
        "one is labelled. Cells of more than 8 atoms, whose snapshots are nearer to each other, "
        "are compared at sqrt(8 / atoms) times this fraction. 0 switches the filter off; equal "
        "structures never pass.",
    )
    least_gain: float | None = Field(
        default=None,
        description="Candidates that would add less than this, in nats, are rejected (the paper: "
        "0.01); null: no bar, candidates are only ranked.",
    )
    admissions_per_label: float = Field(
        default=2.0,
        ge=0,
        description="While walkers explore, this many snapshots per label of the round join the "
        "shared dataset, in equal numbers after each of sampling.chunks chunks, rounded up: the "
        "best by gain that pass duplicate_tolerance and least_gain. Further chunks, which "
        "sampling.independent_per_label may add, admit as many each. More drive the walkers "
        "further; 0: walkers are biased by the labels of earlier rounds only.",
    )
    rank_by: Literal["auto", "gain", "gain_per_second"] = Field(
        default="auto",
        description="gain: what a label adds; gain_per_second: the same per second that the "
        "label is predicted to cost; auto: gain_per_second where candidates differ in their "
        "number of atoms, since large cells add more and cost more, and gain otherwise.",
    )
    storage: Literal["float64", "float32"] = Field(
        default="float64",
        description="Precision in which the features of the candidates are kept; float32 halves "
        "the memory.",
    )

    lookahead: ClassVar[int] = 0
    """Most picks beyond those asked for, which say what more would add; no place is shared out
    among them."""

    @property
    def keys_for_gains(self) -> tuple[str, ...]:
        """The keys that only gains have, where their values are not the usual ones.

        >>> SelectionConfig(quotas={"anchors": 0.3}).keys_for_gains
        ('quotas',)
        """
        usual_share = SelectionConfig.model_fields["phase_share"].default
        given = {
            "objective": self.objective == "information",
            "quotas": bool(self.quotas),
            "least_gain": self.least_gain is not None,
            "rank_by": self.rank_by == "gain_per_second",
            "phase_share": self.phase_share != usual_share,
        }
        return tuple(key for key, decides in given.items() if decides)

    @property
    def is_control_arm(self) -> bool:
        """Whether the method is there to compare with."""
        return not self.by_gain and self.method != "representative"

    @property
    def by_gain(self) -> bool:
        """Whether picks are those of largest gain.

        What "auto" is, `CampaignConfig.selecting` and `entrove.select` decide.
        """
        return self.method in ("auto", "gain")

    def needs_seconds(self, sizes: Collection[int]) -> bool:
        """Whether seconds of labels decide anything among structures of these sizes."""
        by_second = self.rank_by == "gain_per_second"
        differ = self.rank_by == "auto" and len(set(sizes)) > 1
        return by_second or differ or self.budget_s is not None

    @property
    def pool_share_or_default(self) -> float:
        """The weight of the candidates in the target."""
        if self.pool_share is not None:
            return self.pool_share
        return 0.6 if self.method == "representative" else 0.25

    @field_validator("quotas")
    @classmethod
    def _check_quotas(cls, quotas: dict[str, float]) -> dict[str, float]:
        total = sum(quotas.values())
        if total > 1 + 1e-9:
            raise ValueError(
                f"the shares sum to {total:g}, at most 1 is allowed; lower some of them"
            )
        return quotas

    @model_validator(mode="after")
    def _check_control_arm(self) -> "SelectionConfig":
        if self.by_gain:
            return self
        unused = [
            name
            for name, used in (
                ("quotas", bool(self.quotas)),
                ("least_gain", self.least_gain is not None),
                ("rank_by", self.rank_by == "gain_per_second"),
            )
            if used
        ]
        if unused:
            raise ValueError(
                f"method '{self.method}' uses no gain; "
                f"remove {', '.join(unused)}, or set method to 'gain'"
            )
        return self
