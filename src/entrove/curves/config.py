"""Settings of a study of learning curves: what explores, what selects, what learns, what tests."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from entrove.settings import Settings
from entrove.training.config import TrainingConfig

HOW_TO_WRITE = (
    "the tutorial 'Your own learning curves' shows how a study is written, and 'entrove schema "
    "study' prints its keys"
)
"""What to do without the file of a study, for messages."""

Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w.+-]+$")]
Count = Annotated[int, Field(ge=1)]


def _not_of_a_study(name: str) -> str:
    if name in ("independent", "mixture"):
        raise ValueError(f"'{name}' is a test set of the study; give the file another name")
    return name


FileName = Annotated[Name, AfterValidator(_not_of_a_study)]
Changes = dict[str, Any]
"""Keys of a campaign and their values, in the form of its configuration file."""

PoolName = Literal["entropy_md", "ordered", "anchors"]


class ArmConfig(Settings):
    """A way to choose labels: pools of an exploration, and a selection from them."""

    exploration: Name = Field(description="Name of the exploration whose pools are chosen from.")
    pools: tuple[PoolName, ...] = Field(
        default=("entropy_md", "ordered", "anchors"),
        min_length=1,
        description="Pools that the selection sees; entropy_md are the walkers, biased or not.",
    )
    selection: Changes = Field(
        default={}, description="Keys of the campaign's section selection that differ."
    )
    entropy: Changes = Field(
        default={}, description="Keys of the campaign's section entropy that differ."
    )


class StudentConfig(Settings):
    """What learns from the labels of every arm, always in the same way."""

    base: str | None = Field(
        default=None,
        description="Model to tune, or the architecture of a model from random weights "
        "(allegro-small, allegro-medium, or a .yaml file).",
    )
    tune: bool = Field(
        default=True,
        description="false: the base as it is, after one energy shift per element that is fitted "
        "to the labels. It is what tuning has to beat.",
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="How it is trained.")
    structures_seen: Count | None = Field(
        default=None,
        description="Train for as many epochs as it takes to see this many structures, so that "
        "every point has about the same number of steps, up to whole epochs and batches; empty: "
        "the epochs of training.",
    )
    function: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:\w+$",
        description="Instead of base: 'module:function' of a trainer of your own. It is called "
        "with the labelled structures and the options below as keywords, and returns an ASE "
        "calculator.",
    )
    options: dict[str, Any] = Field(default={}, description="Keywords of that function.")
    counts: tuple[Count, ...] | None = Field(
        default=None, description="Numbers of labels that it learns from; empty: all of the study."
    )
    arms: tuple[Name, ...] | None = Field(
        default=None, description="Arms that it learns from; empty: all of the study."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "StudentConfig":
        if (self.base is None) == (self.function is None):
            raise ValueError("a student has either a base or a function; give one of them")
        if self.function is not None and not self.tune:
            raise ValueError("'tune: false' is for a base; a function trains what it returns")
        if self.training.committee_size > 1:
            raise ValueError("training.committee_size: a student is one model; leave it out")
        return self


class TestsConfig(Settings):
    """What the students are tested on; nothing of it is ever learnt from."""

    __test__ = False  # not a test of pytest

    independent: Changes = Field(
        default={},
        description="Keys of the campaign that differ for the independent set: the anchors "
        "(relaxed, strained, sheared, thermal cells) of a run with another seed.",
    )
    hold_out: int = Field(
        default=60,
        ge=0,
        description="Structures of the hold-out of each arm: what it picks in the next draw, "
        "without the structures that an arm has learnt from. 0: none.",
    )
    mixture: tuple[Name, ...] = Field(
        default=(),
        description="Arms whose hold-outs make up the mixture, in equal parts; empty: all.",
    )
    files: dict[FileName, str] = Field(
        default={},
        description="Labelled files to test on, relative to the study. Energies of another level "
        "of theory are compared after a shift per composition.",
    )


class StudyConfig(Settings):
    """Learning curves of several arms, with the same labels, students and tests."""

    name: Name = Field(description="Name of the study.")
    campaign: str = Field(
        min_length=1,
        description="Configuration of a campaign, relative to the study: seeds, regime, model "
        "that explores, engine, and the defaults of exploration and selection.",
    )
    folder: str = Field(
        default="curves", min_length=1, description="Folder of the study, relative to it."
    )
    random_seed: int = Field(default=1, ge=0, lt=2**31, description="Seed of the first draw.")
    draws: Count = Field(default=3, description="Independent repetitions, each with its own seed.")
    counts: tuple[Count, ...] = Field(
        default=(25, 50, 100, 200, 400, 800),
        min_length=1,
        description="Numbers of labels, ascending. Each next one is picked given those before.",
    )
    explorations: dict[Name, Changes] = Field(
        default={"campaign": {}},
        min_length=1,
        description="Runs of the walkers, each with keys of the campaign that differ.",
    )
    arms: dict[Name, ArmConfig] = Field(min_length=1, description="Ways to choose labels.")
    control: Name = Field(description="The arm that the others are compared with.")
    students: dict[Name, StudentConfig] = Field(min_length=1, description="What learns.")
    tests: TestsConfig = Field(default=TestsConfig(), description="What they are tested on.")

    @model_validator(mode="after")
    def _names_exist(self) -> "StudyConfig":
        if list(self.counts) != sorted(set(self.counts)):
            raise ValueError(
                f"counts={list(self.counts)}: give them in ascending order, each once"
            )
        _known("control", [self.control], self.arms)
        _known("tests.mixture", self.tests.mixture, self.arms)
        for name, arm in self.arms.items():
            _known(f"arms.{name}.exploration", [arm.exploration], self.explorations)
        for name, student in self.students.items():
            _known(f"students.{name}.arms", student.arms or (), self.arms)
            odd = sorted(set(student.counts or ()) - set(self.counts))
            if odd:
                raise ValueError(f"students.{name}.counts: {odd} are not among the counts")
        return self

    @property
    def draws_picked(self) -> int:
        """Draws to explore and pick in: a single one needs another for its hold-outs."""
        return max(self.draws, 2) if self.tests.hold_out else self.draws

    @property
    def mixed_arms(self) -> tuple[str, ...]:
        """The arms whose hold-outs make up the mixture."""
        return self.tests.mixture or tuple(self.arms)


def _known(key: str, names: "tuple[str, ...] | list[str]", allowed: dict[str, Any]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{key}: '{name}' is none of {', '.join(allowed)}")
