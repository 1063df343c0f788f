"""The models of a campaign: the foundation model, the tuned ones, and the one that explores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Trained, Validated, Verified
from entrove.campaign.journal.records import best_round
from entrove.campaign.workspace import explain_lost, holds_something
from entrove.errors import CampaignError
from entrove.models.committee import committee_of
from entrove.models.loaded import LoadedModel
from entrove.models.registry import load, split_modal
from entrove.models.verify import VerificationReport, serial, verified
from entrove.training.committee import read_committee
from entrove.training.trained_model import TrainedModel

OnMismatch = Literal["stop", "fall_back"]


class CampaignModels:
    """Loads each model on first use; without verified batches, it is evaluated serially."""

    def __init__(self, campaign: CheckedCampaign, ledger: Ledger):
        self._campaign = campaign
        self._ledger = ledger
        self._tuned: dict[int, LoadedModel] = {}
        found = ledger.find(0, Verified)
        self._batched = found is None or found.batched
        self.foundation = _trusted(campaign.foundation, batched=self._batched)
        self._explorer = campaign.explorer and _trusted(
            campaign.explorer, batched=found is None or found.explorer_batched
        )

    def read_again(self) -> None:
        """Trust batches as the ledger says, after models were verified by another process."""
        self.__init__(self._campaign, self._ledger)

    def verify_untuned(
        self, seeds: Sequence[Atoms], on_mismatch: OnMismatch
    ) -> tuple[VerificationReport, VerificationReport | None]:
        """Check the batches of the foundation model, and of the one that explores instead, if any.

        Whether the foundation model's can be trusted holds for the tuned models too.
        """
        self.foundation, report = verified(self.foundation, seeds, on_mismatch=on_mismatch)
        self._batched = report.passed
        if self._explorer is None:
            return report, None
        self._explorer, of_explorer = verified(self._explorer, seeds, on_mismatch=on_mismatch)
        return report, of_explorer

    def verify_tuned(
        self, round_index: int, seeds: Sequence[Atoms], on_mismatch: OnMismatch
    ) -> VerificationReport:
        """Check the batches of the model that was tuned in a round."""
        self._tuned[round_index], report = verified(
            self.tuned(round_index), seeds, on_mismatch=on_mismatch
        )
        return report

    def tuned(self, round_index: int) -> LoadedModel:
        """The model that was trained in a round."""
        if round_index not in self._tuned:
            trained = self._ledger.find(round_index, Trained)
            assert trained is not None  # validation follows training
            checkpoint = self._campaign.workspace.folder / trained.checkpoint
            if not holds_something(checkpoint):
                raise CampaignError(explain_lost(str(checkpoint)))
            self._tuned[round_index] = self._load_tuned(checkpoint, round_index)
        return self._tuned[round_index]

    def _load_tuned(self, checkpoint: Path, round_index: int) -> LoadedModel:
        """Load one of the models that were tuned in a round."""
        _, modal = split_modal(self._campaign.model_name)
        name = f"{checkpoint}@{modal}" if modal else str(checkpoint)
        loaded = load(name, device=self._campaign.config.model.device)
        return _trusted(loaded, batched=self._batched and not self._failed(round_index))

    def committee(self, round_index: int) -> LoadedModel | None:
        """All models that were trained in a round as one; None when there is only one."""
        members = self.members(round_index)
        if len(members) < 2:
            return None
        return committee_of(
            [self._load_tuned(member.checkpoint, round_index) for member in members]
        )

    def members(self, round_index: int) -> tuple[TrainedModel, ...]:
        """All trainings of a round, that of the potential first."""
        trained = self._ledger.find(round_index, Trained)
        assert trained is not None  # validation follows training
        first = self._campaign.workspace.folder / trained.checkpoint
        return read_committee(first.parent.parent)

    def _failed(self, round_index: int) -> bool:
        """Whether a later round that explores with this round's model found its batches wrong."""
        verifications = self._ledger.each(Verified).values()
        return any(
            verification.tuned_in == round_index and not verification.batched
            for verification in verifications
        )

    def best_round(self, before: int) -> int:
        """The round before `before` with the best accepted model; 0 for the foundation model."""
        validations = self._ledger.each(Validated)
        earlier = {index: found for index, found in validations.items() if index < before}
        return best_round(earlier, self._campaign.config.validation)

    def exploring(self, round_index: int) -> LoadedModel:
        """The model that explores in a round: a given one, or the best accepted one so far."""
        return self.learning(round_index) if self._explorer is None else self._explorer

    def learning(self, round_index: int) -> LoadedModel:
        """The model that the labels of a round are for: the best accepted one so far."""
        best = self.best_round(before=round_index)
        return self.tuned(best) if best else self.foundation

    def explores_with_another(self, round_index: int) -> bool:
        """Whether this round explores with another model than the round before it."""
        if self._explorer is not None:
            return False
        return self.best_round(before=round_index) != self._relaxed_with(round_index - 1)

    def began_with_another(self, round_index: int) -> bool:
        """Whether this round began with another model than the one that explores in it now.

        Models that are judged again may change which of them is the best.
        """
        if self._explorer is not None:
            return False
        return self.best_round(before=round_index) != self._relaxed_with(round_index)

    def _relaxed_with(self, round_index: int) -> int:
        """The round whose model was verified last until this round; 0 for the foundation model.

        The phases are relaxed with it, and it explores.
        """
        verifications = self._ledger.each(Verified)
        last = max((index for index in verifications if index <= round_index), default=0)
        return (verifications[last].tuned_in or 0) if last else 0


def _trusted(model: LoadedModel, *, batched: bool) -> LoadedModel:
    return model if batched else serial(model)
