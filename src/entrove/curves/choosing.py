"""What each arm picks: count by count, each next pick given those before."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from entrove.campaign.configuration.check import read_campaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.select import RowSources, choose, read_pool, row_sources
from entrove.curves.config import StudyConfig
from entrove.curves.exploring import (
    Explored,
    check_changes,
    hashes_of_models,
    models_that_explore,
)
from entrove.curves.hashing import digest
from entrove.entropy.labels.remembered import RememberedDerivatives, remembered_energies
from entrove.errors import SelectionError
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.sampling.candidates import Candidate, read_candidates, write_candidates

FIRST_ROUND = 1
PICKS_VERSION = 3
"""Raised when equal settings pick differently, so that picks of an older version are made anew."""

WITHOUT_FEATURES = ("random", "committee_spread")
"""Methods that look at no features."""


def _parts_of_stopping(config: CampaignConfig) -> list[str]:
    """The method "auto" where a key of `stopping` alone decides it; the others are in the key."""
    decided = config.selection.method == "auto" and config.keys_for_gains
    return ["gain"] if decided == ("stopping.least_predicted_improvement",) else []


@dataclass(frozen=True)
class Chooser:
    """Picks the labels of the arms of a study.

    Attributes:
        study: The settings of the study.
        campaign_path: The configuration of its campaign.
        folder: Where the picks are kept, one file per arm and draw.
    """

    study: StudyConfig
    campaign_path: Path
    folder: Path
    _remembered: dict[str, RowSources] = field(default_factory=dict[str, RowSources])

    def check(self) -> None:
        """Read what all arms change; raises `ConfigError` for what a campaign refuses."""
        for name, arm in self.study.arms.items():
            changes = {"selection": arm.selection, "entropy": arm.entropy}
            check_changes(self.campaign_path, f"arms.{name}", changes)

    def choose(self, arm_name: str, draw: int, explored: Explored) -> list[Candidate]:
        """Pick as many candidates as the largest count, in the order in which they are labelled.

        The picks up to each count are a round: they are chosen given those of the counts before,
        so that quotas and gains are those of a campaign that labels in these steps.

        Raises `SelectionError` when the pools of the arm are too small.
        """
        run = self._arm_of(arm_name, draw, explored)
        arm, config = self.study.arms[arm_name], run.config
        offered = functools.cache(
            lambda: [c for c in read_pool(run, FIRST_ROUND) if c.pool in arm.pools]
        )
        key = digest(
            self._version(config),
            explored.key,
            arm.pools,
            config.selection,
            config.entropy,
            self.study.counts,
            draw,
            *_parts_of_stopping(config),
            *_parts_of_cost(run, offered),
            *self._parts_of_model(config),
        )
        file = self.folder / f"{arm_name}-{draw}-{key[:10]}.xyz"
        if not file.is_file():
            picks = self._choose_in_rounds(arm_name, run, offered())
            file.parent.mkdir(parents=True, exist_ok=True)
            write_candidates(file, picks)
        return read_candidates(file)

    def _arm_of(self, arm_name: str, draw: int, explored: Explored) -> CampaignRun:
        """The campaign of an exploration with the selection of an arm."""
        arm = self.study.arms[arm_name]
        changes = {
            "selection": arm.selection,
            "entropy": arm.entropy,
            "random_seed": self.study.random_seed + draw,
        }
        ours, _ = read_campaign(self.campaign_path, changes=changes)
        config = explored.run.config.model_copy(
            update={"selection": ours.selection, "entropy": ours.entropy}
        )
        return replace(explored.run, campaign=replace(explored.run.campaign, config=config))

    def _version(self, config: CampaignConfig) -> int:
        """`PICKS_VERSION`, and one more for each change that has concerned some picks only.

        The cells that the paper's entropy starts from may be picked since the first of these, and
        random picks of all counts are independent since the second.
        """
        is_random = config.selecting.method == "random"
        return (
            PICKS_VERSION
            + (config.entropy.kind == "paper")
            + (is_random and len(self.study.counts) > 1)
        )

    def _parts_of_model(self, config: CampaignConfig) -> list[str]:
        """The weights of the model that learns, where picks depend on them.

        The key of an exploration has those of the models that explore. A name needs none.
        """
        selection = config.selecting
        depends = config.entropy.kind == "labels" and (
            # Rows of gains have noise that grows with the energies of the model.
            selection.by_gain
            or (selection.features != "fingerprint" and selection.method not in WITHOUT_FEATURES)
        )
        if not depends or config.model.name in models_that_explore(config):
            return []
        return hashes_of_models(self.campaign_path, [config.model.name])

    def _row_sources(self, run: CampaignRun) -> RowSources:
        """What rows of labels are made of; arms with equal model and features share the values."""
        sources = row_sources(run, FIRST_ROUND)
        # Energies are the model's, also where features are fingerprints and tell no model.
        parts = [run.config.model.model_dump(mode="json"), sources.features.describe()]
        key = json.dumps(parts, sort_keys=True, default=str)
        remembered = RowSources(
            RememberedDerivatives(sources.features), remembered_energies(sources.energies_eV)
        )
        return self._remembered.setdefault(key, remembered)

    def _choose_in_rounds(
        self, arm_name: str, run: CampaignRun, pool: list[Candidate]
    ) -> list[Candidate]:
        sources = self._row_sources(run) if run.config.entropy.kind == "labels" else None
        picks: list[Candidate] = []
        for count in self.study.counts:
            wanted = count - len(picks)
            if wanted > len(pool):
                raise SelectionError(
                    f"arm {arm_name}: {len(pool)} candidates are left for {wanted} more labels "
                    f"of {count}; lower counts, or explore longer (sampling.chunks)"
                )
            given = [pick.atoms for pick in picks]
            chosen = choose(
                run, FIRST_ROUND, pool, wanted, given, sources=sources, picked=len(picks)
            )
            if len(chosen) < wanted:
                raise SelectionError(
                    f"arm {arm_name}: its filters leave {len(chosen)} of {wanted} picks for "
                    f"{count} labels ({chosen.rejections_by_filter()}); lower counts, explore "
                    "longer, or lower duplicate_tolerance or least_gain"
                )
            picks += [pool[index] for index in chosen.indices]
            taken = set(chosen.indices.tolist())
            pool = [candidate for i, candidate in enumerate(pool) if i not in taken]
        return picks


def _parts_of_cost(run: CampaignRun, offered: Callable[[], list[Candidate]]) -> list[str]:
    """What decides the seconds of labels, where picks depend on them.

    That is with a budget, and where gains of cells of different sizes are ranked. Other picks keep
    the keys that they have without it.
    """
    settings = run.config.selecting
    depends = settings.budget_s is not None or (
        settings.by_gain and settings.needs_seconds([len(c.atoms) for c in offered()])
    )
    return [LevelOfTheory.of(run.config.labelling.engine).hash] if depends else []
