"""The loop: prepare, then explore, select, label, train and validate until it is enough."""

from dataclasses import dataclass, replace

import torch
from ase import Atoms

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.settled import settle_config
from entrove.campaign.journal.ledger import Ledger, StageRecord
from entrove.campaign.journal.lock import hold_campaign
from entrove.campaign.journal.log import log_to
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.journal.records import best_round, error_table
from entrove.campaign.journal.runner import FINISH, StageOutcome, StageRunner
from entrove.campaign.stages import explore, prepare
from entrove.campaign.stages import label as label_stage
from entrove.campaign.stages import train as learn
from entrove.campaign.stages.finish import finish
from entrove.campaign.stages.label import EarlierLabels, LabelledSet, Request
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.stopping import budget_spent, stop_after_validation, stop_before_labels
from entrove.campaign.workspace import Workspace
from entrove.sampling.candidates import read_candidates
from entrove.structures import content_hash, read_structures, write_structures
from entrove.threads import usable_threads


def run_campaign(campaign: CheckedCampaign, listener: ProgressListener) -> None:
    """Run a campaign, or continue it, until a stopping condition holds.

    Raises `CampaignError` when another process runs it, or it was started with another configuration.
    """
    workspace = campaign.workspace
    workspace.folder.mkdir(parents=True, exist_ok=True)
    with hold_campaign(workspace.folder), log_to(workspace.log):
        # The ledger first: it knows the version of the folder's form, the configuration in it included.
        ledger = Ledger(workspace.ledger)
        settle_config(workspace.config, campaign.config)
        torch.set_num_threads(usable_threads(campaign.config.model.threads))
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

    @property
    def _ledger(self) -> Ledger:
        return self.runner.ledger

    def run(self) -> None:
        self._try_validation_again()
        self._prepare()
        number, verdict = self._rounds(1)
        again = self._try_training_again()
        if again is not None:
            # Models that are loaded may be of the training that is done anew.
            fresh = CampaignModels(self.campaign, self._ledger)
            number, verdict = replace(self, models=fresh)._rounds(again)
        self._finish(number, verdict)

    def _rounds(self, first: int) -> tuple[int, str]:
        """Run rounds until one is the last; return it and why."""
        number, verdict = first, self._round(first)
        while verdict is None:
            number += 1
            verdict = self._round(number)
        return number, verdict

    def _finish(self, number: int, reason: str) -> None:
        record = self._ledger.find(number, FINISH)
        if record is not None and record.payload.get("reason") != reason:
            self._ledger.forget([(number, FINISH)])
        self.runner.run(
            number,
            FINISH,
            "writing the model bundle",
            lambda: finish(self.campaign, self._ledger, reason),
        )

    def _try_validation_again(self) -> None:
        """Make the validation set again when some of its labels were released, and measure all models on it."""
        stages = self._ledger.stages()
        if label_stage.released_requests(self.campaign, [one for one in stages if one.round == 0]):
            validated = [(one.round, one.stage) for one in stages if one.stage == "validate"]
            self._ledger.forget([(0, "label"), *validated])

    def _try_training_again(self) -> int | None:
        """Open the last round again when training labels were released and no later round will try them."""
        stages = [one for one in self._ledger.stages() if one.round > 0]
        if not label_stage.released_requests(self.campaign, stages):
            return None
        last = max(one.round for one in stages if one.stage == "label")
        self._ledger.forget([(last, "label"), (last, "train"), (last, "validate")])
        return last

    def _prepare(self) -> None:
        run, campaign = self.runner.run, self.campaign
        run(
            0,
            "verify",
            "comparing batched and single evaluations",
            lambda: prepare.verify(campaign, self.models),
        )
        run(
            0,
            "relax",
            "relaxing each phase at each pressure",
            lambda: prepare.relax(campaign, self.models),
        )
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
        labelled = self._buy([Request(candidate) for candidate in candidates], 0, EarlierLabels())
        prepare.require_labels(labelled, "validation")
        write_structures(self._files.validation, labelled.structures)
        return label_stage.outcome_of(labelled)

    def _buy(self, requests: list[Request], round: int, earlier: EarlierLabels) -> LabelledSet:
        return label_stage.label_requests(
            self.campaign,
            requests,
            round,
            self.models.foundation,
            earlier,
            self._ledger.created_utc,
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
        selected = self._select(number)
        verdict = stop_before_labels(
            self.campaign.config.stopping,
            number - 1,
            len(self._training_labels(before=number)),
            selected.payload["gain_nats"],
            selected.payload["picked"],
        )
        if verdict is not None and not self._is_labelled(number):
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
            total=self.campaign.config.training.epochs
            * self.campaign.config.training.committee_size,
            unit="epochs",
        )
        validated = run(
            number,
            "validate",
            "the tuned model on the validation set",
            lambda: self._validate(number),
        )
        if self._is_labelled(number + 1):
            return None
        stopping, total = self.campaign.config.stopping, error_table(validated.payload).total
        return stop_after_validation(stopping, number, total.force_mae_meV_per_A) or budget_spent(
            stopping, len(self._training_labels(before=number + 1))
        )

    def _select(self, number: int) -> StageRecord:
        selected = self._ledger.find(number, "select")
        if selected is not None and not selected.payload["picked"]:
            # A person may have given more labels since; without, it ends as before within seconds.
            self._ledger.forget([(number, "select")])
        return self.runner.run(
            number,
            "select",
            "picking what is new to the dataset",
            lambda: explore.select(self.campaign, number),
        )

    def _is_labelled(self, number: int) -> bool:
        """Whether the labels of a round are paid for: they are used then, whatever stopping says by now."""
        return self._ledger.find(number, "label") is not None

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
        requests += label_stage.released_requests(
            self.campaign, [one for one in self._ledger.stages() if 0 < one.round < number]
        )
        earlier = self._training_labels(before=number)
        known = {content_hash(atoms) for atoms in earlier}
        requests = [one for one in requests if content_hash(one.candidate.atoms) not in known]
        labelled = self._buy(
            requests, number, EarlierLabels(earlier, read_structures(self._files.validation))
        )
        prepare.require_labels(labelled, "picked")
        kept = [atoms for atoms in earlier if content_hash(atoms) not in labelled.withdrawn]
        write_structures(self._files.dataset, kept + labelled.structures)
        return label_stage.outcome_of(labelled)

    def _train(self, number: int) -> StageOutcome:
        trained = learn.train(
            self.campaign,
            self._training_labels(before=number + 1),
            read_structures(self._files.validation),
            self._files.in_round(number, "training"),
            self._listener,
        )
        return learn.training_outcome(trained, self._files.folder.resolve())

    def _validate(self, number: int) -> StageOutcome:
        stages = self._ledger.stages()
        tables = {one.round: error_table(one.payload) for one in stages if one.stage == "validate"}
        best = best_round([one for one in stages if one.round < number])
        rival = (best, tables[best]) if best else None
        model = self.models.tuned(number) if number else self.models.foundation
        validated = learn.validate(
            model,
            read_structures(self._files.validation),
            self._files.in_round(number, "validation_predictions.xyz"),
        )
        return learn.outcome_of(validated, tables.get(0), rival)

    def _training_labels(self, before: int) -> list[Atoms]:
        """Good labels of the rounds before this one; a round that was interrupted may have written its own."""
        path = self._files.dataset
        labels = read_structures(path) if path.exists() and path.stat().st_size else []
        return [atoms for atoms in labels if atoms.info["entrove_round"] < before]
