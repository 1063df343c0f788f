"""The models of a campaign: the foundation model and the tuned ones."""

from collections.abc import Sequence
from typing import Literal

from ase import Atoms

from entrove.campaign.check import CheckedCampaign
from entrove.campaign.ledger import Ledger
from entrove.campaign.records import best_round
from entrove.models.loaded import LoadedModel
from entrove.models.registry import load
from entrove.models.verify import VerificationReport, serial, verified


class CampaignModels:
    """Loads each model when it is first needed."""

    def __init__(self, campaign: CheckedCampaign, ledger: Ledger):
        self._campaign = campaign
        self._ledger = ledger
        self._tuned: dict[int, LoadedModel] = {}
        verified = ledger.find(0, "verify")
        self._batched = verified is None or bool(verified.payload["batched"])
        self.foundation = self._trusted(campaign.foundation)

    def verify_foundation(
        self, seeds: Sequence[Atoms], on_mismatch: Literal["stop", "fall_back"]
    ) -> tuple[VerificationReport, bool]:
        """Check the foundation model's batches; whether they can be trusted holds for the tuned models too."""
        self.foundation, report = verified(self.foundation, seeds, on_mismatch=on_mismatch)
        self._batched = report.passed
        return report, self._batched

    def _trusted(self, model: LoadedModel) -> LoadedModel:
        return model if self._batched else serial(model)

    def tuned(self, round: int) -> LoadedModel:
        """The model that was trained in a round."""
        if round not in self._tuned:
            record = self._ledger.find(round, "train")
            assert record is not None  # validation follows training
            checkpoint = self._campaign.workspace.folder / record.payload["checkpoint"]
            modal = self._campaign.model_name.partition("@")[2]
            name = f"{checkpoint}@{modal}" if modal else str(checkpoint)
            self._tuned[round] = self._trusted(load(name, device=self._campaign.config.model.device))
        return self._tuned[round]

    def best_round(self, before: int) -> int:
        """The round before `before` with the best accepted model; 0, the foundation model, when there is none."""
        return best_round([record for record in self._ledger.stages() if record.round < before])

    def exploring(self, round: int) -> LoadedModel:
        """The model that explores in a round: the best accepted one so far."""
        best = self.best_round(before=round)
        return self.tuned(best) if best else self.foundation
