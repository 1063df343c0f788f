"""Judge the model that is kept with the validation suite, before the campaign ends."""

from collections.abc import Sequence

from entrove.campaign.journal.outcomes import Checked, Validated
from entrove.campaign.journal.records import best_round
from entrove.campaign.stages.context import CampaignRun
from entrove.campaign.stages.label_volumes import volumes_changed
from entrove.structures import read_structures
from entrove.validation.suite.result import CheckResult
from entrove.validation.suite.run import CHECKS, judge, make_subject
from entrove.validation.suite.sources import VALIDATION_LABELS


def _best(run: CampaignRun) -> int:
    """Round of the model that is kept; 0 without one."""
    return best_round(run.ledger.each(Validated), run.config.validation)


def wants_checks(run: CampaignRun) -> bool:
    """Whether the suite is enabled, and there is a tuned model to judge."""
    return run.config.suite.enabled and _best(run) > 0


def checks_are_stale(run: CampaignRun, round_index: int) -> bool:
    """Whether the checks in the ledger are of another model or other settings, or lack some.

    Those are made that wanted a package which has been installed since, and all where a volume for
    the equation of state was released from quarantine.
    """
    found = run.ledger.find(round_index, Checked)
    if found is None:
        return False
    return (
        found.model_round != _best(run)
        or found.suite.settings != run.config.suite.model_dump(mode="json")
        or any(result.can_be_made_now for result in found.suite.checks)
        or volumes_changed(run.campaign, found.volumes)
    )


def check(run: CampaignRun, round_index: int) -> Checked:  # noqa: ARG001
    """Run the suite on the best accepted model, and compare it with the untuned one.

    Volumes for the equation of state are read from the file that `label_volumes` leaves.

    Errors are those on the validation labels; volumes and shortest distances are those of all
    labels, and what is compared on labels that this model has learnt says so; those of later
    rounds are no such labels. Finished checks are kept in the folder of the campaign, and an
    interrupted suite continues from there.
    """
    best = _best(run)
    config, regime = run.config.suite, run.config.regime
    validated = run.ledger.find(best, Validated)
    volumes = read_structures(run.files.volumes, may_be_empty=True)
    untuned = None if validated is None else validated.untuned
    subject = make_subject(
        run.models.tuned(best),
        phases={seed.phase: seed.atoms for seed in run.campaign.seeds},
        labelled=run.files.validation_labels(),
        labelled_as=VALIDATION_LABELS,
        trained_on=run.files.training_labels(),
        volumes=volumes,
        base=run.models.foundation,
        base_shifts_eV=None if untuned is None else untuned.reference_shifts_eV,
        has_zero_of_labels=True,
        config=config,
        pressures_GPa=regime.pressures_GPa,
        temperatures_K=regime.temperatures_K,
        committee=run.models.committee(best),
        negligible=run.config.validation,
        committee_learnt=[member.labels_learnt() for member in run.models.members(best)],
    )
    total = sum(one.settings(config).enabled for one in CHECKS)
    done = 0

    def tell(name: str, description: str, results: Sequence[CheckResult] | None) -> None:
        nonlocal done
        done += results is not None
        failed = any(result.outcome == "failed" for result in results or ())
        run.listener.advanced(done, total, f"{name} failed" if failed else description)

    suite = judge(subject, config, folder=run.files.checks, progress=tell)
    return Checked(summary=suite.summary, model_round=best, suite=suite)
