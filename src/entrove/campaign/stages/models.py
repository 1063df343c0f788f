"""The models of a campaign: the foundation model, the tuned ones, and the one that explores."""

from collections.abc import Sequence
from typing import Literal

from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.records import best_round
from entrove.models.loaded import LoadedModel
from entrove.models.registry import load, split_modal
from entrove.models.verify import VerificationReport, serial, verified

OnMismatch = Literal["stop", "fall_back"]


class CampaignModels:
    """Loads each model when it is first needed; one whose batches failed verification is evaluated serially."""

    def __init__(self, campaign: CheckedCampaign, ledger: Ledger):
        self._campaign = campaign
        self._ledger = ledger
        self._tuned: dict[int, LoadedModel] = {}
        record = ledger.find(0, "verify")
        found = {} if record is None else record.payload
        self._batched = bool(found.get("batched", True))
        self.foundation = _trusted(campaign.foundation, batched=self._batched)
        self._explorer = campaign.explorer and _trusted(
            campaign.explorer, batched=bool(found.get("explorer_batched", True))
        )

    def verify_untuned(
        self, seeds: Sequence[Atoms], on_mismatch: OnMismatch
    ) -> tuple[VerificationReport, VerificationReport | None]:
        """Check the batches of the foundation model, and of the model that explores in its place, if any.

        Whether the foundation model's can be trusted holds for the tuned models too.
        """
        self.foundation, report = verified(self.foundation, seeds, on_mismatch=on_mismatch)
        self._batched = report.passed
        if self._explorer is None:
            return report, None
        self._explorer, of_explorer = verified(self._explorer, seeds, on_mismatch=on_mismatch)
        return report, of_explorer

    def verify_tuned(
        self, round: int, seeds: Sequence[Atoms], on_mismatch: OnMismatch
    ) -> VerificationReport:
        """Check the batches of the model that was tuned in a round."""
        self._tuned[round], report = verified(self.tuned(round), seeds, on_mismatch=on_mismatch)
        return report

    def tuned(self, round: int) -> LoadedModel:
        """The model that was trained in a round."""
        if round not in self._tuned:
            record = self._ledger.find(round, "train")
            assert record is not None  # validation follows training
            checkpoint = self._campaign.workspace.folder / record.payload["checkpoint"]
            _, modal = split_modal(self._campaign.model_name)
            name = f"{checkpoint}@{modal}" if modal else str(checkpoint)
            loaded = load(name, device=self._campaign.config.model.device)
            self._tuned[round] = _trusted(
                loaded, batched=self._batched and not self._failed(round)
            )
        return self._tuned[round]

    def _failed(self, round: int) -> bool:
        """Whether batches of the model of this round were found wrong, by a later round that explores with it."""
        return any(
            record.stage == "verify"
            and record.payload.get("tuned_in") == round
            and not record.payload["batched"]
            for record in self._ledger.stages()
        )

    def best_round(self, before: int) -> int:
        """The round before `before` with the best accepted model; 0, the foundation model, when there is none."""
        return best_round([record for record in self._ledger.stages() if record.round < before])

    def exploring(self, round: int) -> LoadedModel:
        """The model that explores in a round: the one that was given for it, or the best accepted one so far."""
        if self._explorer is not None:
            return self._explorer
        best = self.best_round(before=round)
        return self.tuned(best) if best else self.foundation

    def explores_with_another(self, round: int) -> bool:
        """Whether this round explores with another model than the round before it."""
        return self._explorer is None and self.best_round(before=round) != self.best_round(
            before=round - 1
        )


def _trusted(model: LoadedModel, *, batched: bool) -> LoadedModel:
    return model if batched else serial(model)
