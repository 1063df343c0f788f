"""The loop: prepare, then explore, select, label, train and validate until it is enough."""

from dataclasses import dataclass

import torch
from ase import Atoms

from entrove.campaign import explore, label_stage, learn, prepare
from entrove.campaign.candidate_files import read_candidates
from entrove.campaign.check import CheckedCampaign
from entrove.campaign.finish import finish
from entrove.campaign.label_stage import LabelledSet, Request
from entrove.campaign.ledger import Ledger, StageRecord
from entrove.campaign.lock import hold_campaign
from entrove.campaign.log import log_to
from entrove.campaign.models import CampaignModels
from entrove.campaign.progress import ProgressListener
from entrove.campaign.settled import settle_config
from entrove.campaign.stages import StageOutcome, StageRunner
from entrove.campaign.stopping import stop_after_validation, stop_before_labels
from entrove.campaign.workspace import Workspace
from entrove.structures import read_structures, write_structures
from entrove.threads import usable_threads


def run_campaign(campaign: CheckedCampaign, listener: ProgressListener) -> None:
    """Run a campaign, or continue it, until a stopping condition holds.

    Raises `CampaignError` when another process runs it, or it was started with another configuration.
    """
    workspace = campaign.workspace
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with hold_campaign(workspace.folder), log_to(workspace.log):
        settle_config(workspace.config, campaign.config)
        torch.set_num_threads(usable_threads(campaign.config.model.threads))
        ledger = Ledger(workspace.ledger)
        _Loop(campaign, StageRunner(ledger, listener), CampaignModels(campaign, ledger)).run()


@dataclass(frozen=True)
class _Loop:
    """One campaign while it runs. What the stages hand on is in files, so that any stage can be the first."""

    campaign: CheckedCampaign
    runner: StageRunner
    models: CampaignModels

    @property
    def _files(self) -> Workspace:
        return self.campaign.workspace

    @property
    def _listener(self) -> ProgressListener:
        return self.runner.listener

    def run(self) -> None:
        self._prepare()
        number, verdict = 0, None
        while verdict is None:
            number += 1
            verdict = self._round(number)
        # Entered under its round: a campaign that is given more rounds later finishes again.
        reason = verdict
        self.runner.run(
            number,
            "finish",
            "writing the model bundle",
            lambda: finish(self.campaign, self.runner.ledger, self.models, reason),
        )

    def _prepare(self) -> None:
        run, campaign = self.runner.run, self.campaign
        run(
            0,
            "verify",
            "comparing batched and single evaluations",
            lambda: prepare.verify(campaign, self.models),
        )
        run(0, "relax", "relaxing each phase at each pressure", lambda: prepare.relax(campaign, self.models))
        run(
            0,
            "anchors",
            "relaxed, strained and sheared cells, short unbiased MD",
            lambda: prepare.make_anchors(campaign, self.models, self._listener),
            unit="steps",
        )
        run(
            0,
            "hold-out",
            "making the validation set",
            lambda: prepare.make_hold_out(campaign, self.models, self._listener),
            unit="steps",
        )
        run(0, "label", "labelling the validation set", self._label_hold_out, unit="labels")
        run(0, "validate", "the untuned model on the validation set", lambda: self._validate(0))

    def _label_hold_out(self) -> StageOutcome:
        candidates = read_candidates(self._files.in_round(0, "hold_out.xyz"))
        labelled = self._buy([Request(candidate) for candidate in candidates], 0, [])
        prepare.require_labels(labelled, "validation")
        write_structures(self._files.validation, labelled.structures)
        return label_stage.outcome_of(labelled)

    def _buy(self, requests: list[Request], round: int, earlier: list[Atoms]) -> LabelledSet:
        return label_stage.label_requests(
            self.campaign,
            requests,
            round,
            self.models.foundation,
            earlier,
            self.runner.ledger.created_utc,
            self._listener,
        )

    def _round(self, number: int) -> str | None:
        """Run one round; return why the campaign ends with it, or None."""
        run = self.runner.run
        self._welcome_explorer(number)
        run(
            number,
            "explore",
            "entropy-biased MD of all walkers",
            lambda: explore.explore(self.campaign, self.models, number, self._listener),
            unit="steps",
        )
        if explore.wants_ordered(self.campaign):
            run(
                number,
                "order",
                "relaxing perturbed seeds and random crystals",
                lambda: explore.order(self.campaign, self.models, number),
            )
        selected = run(
            number,
            "select",
            "picking what is new to the dataset",
            lambda: explore.select(self.campaign, number),
        )
        verdict = stop_before_labels(
            self.campaign.config.stopping,
            number - 1,
            len(self._training_labels()) if number > 1 else 0,
            selected.payload["gain_nats"],
            selected.payload["picked"],
        )
        if verdict is not None:
            return verdict
        run(
            number,
            "label",
            "labelling the picked structures",
            lambda: self._label(number, selected),
            unit="labels",
        )
        run(
            number,
            "train",
            "tuning the foundation model to all labels",
            lambda: self._train(number),
            total=self.campaign.config.training.epochs * self.campaign.config.training.committee_size,
            unit="epochs",
        )
        validated = run(
            number, "validate", "the tuned model on the validation set", lambda: self._validate(number)
        )
        total = learn.error_table(validated.payload).total
        return stop_after_validation(self.campaign.config.stopping, number, total.force_mae_meV_per_A)

    def _welcome_explorer(self, number: int) -> None:
        """Before a round explores with another model than the one before: verify it, and relax the phases with it."""
        explored = self.runner.ledger.find(number, "explore") is not None
        if explored or not self.models.explores_with_another(number):
            return
        self.runner.run(
            number,
            "verify",
            "comparing batched and single evaluations of the tuned model",
            lambda: prepare.verify_tuned(self.campaign, self.models, number),
        )
        self.runner.run(
            number,
            "relax",
            "relaxing each phase at each pressure with the tuned model",
            lambda: prepare.relax_again(self.campaign, self.models, number),
        )

    def _label(self, number: int, selected: StageRecord) -> StageOutcome:
        candidates = read_candidates(self._files.in_round(number, "selected.xyz"))
        requests = [
            Request(candidate, gain)
            for candidate, gain in zip(candidates, selected.payload["gains_nats"], strict=True)
        ]
        requests += label_stage.released_requests(self.campaign, number)
        earlier = [atoms for atoms in self._training_labels() if atoms.info["entrove_round"] < number]
        labelled = self._buy(requests, number, earlier)
        prepare.require_labels(labelled, "picked")
        write_structures(self._files.dataset, earlier + labelled.structures)
        return label_stage.outcome_of(labelled)

    def _train(self, number: int) -> StageOutcome:
        trained = learn.train(
            self.campaign,
            self._training_labels(),
            read_structures(self._files.validation),
            self._files.in_round(number, "training"),
            self._listener,
        )
        return learn.training_outcome(trained, self._files.folder.resolve())

    def _validate(self, number: int) -> StageOutcome:
        untuned = None
        if number:
            record = self.runner.ledger.find(0, "validate")
            assert record is not None
            untuned = learn.error_table(record.payload)
        model = self.models.tuned(number) if number else self.models.foundation
        validated = learn.validate(
            model,
            read_structures(self._files.validation),
            self._files.in_round(number, "validation_predictions.xyz"),
        )
        return learn.outcome_of(validated, untuned)

    def _training_labels(self) -> list[Atoms]:
        return read_structures(self._files.dataset) if self._files.dataset.exists() else []
