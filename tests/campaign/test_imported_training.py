"""Labels from elsewhere are trained on, and withdrawn, by any campaign that is not running."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from cheap_campaign import SETTINGS, Bench, Labels, make_bench
from entrove import provenance
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.outcomes import Trained, Validated
from entrove.campaign.results.read import read_results
from entrove.campaign.stages.imported import enter_imported, to_train_on, withdraw_import
from entrove.campaign.workspace import is_imported
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.imports import import_labels
from entrove.labelling.store.listing import release_quarantined
from entrove.report.learning import learning_curves
from entrove.report.status import summary_text
from entrove.structures import (
    attach_results,
    content_hash,
    copy_structure,
    has_stress,
    read_structures,
)

COUNT = 3
ONE_ROUND = {"rounds": 1}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, monkeypatch)


def copper_from_elsewhere(count: int) -> list[Atoms]:
    structures = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.rattle(0.08, rng=np.random.default_rng(seed))
        structures.append(atoms)
    return structures


def import_to_train(
    bench: Bench,
    structures: list[Atoms],
    name: str = "ours.xyz",
    *,
    replacing: bool = False,
    train: bool = True,
    cache_file: Path | None = None,
) -> int | None:
    """What `entrove import --train` does; structures with results keep them.

    Without `train` it is plain `entrove import`.
    """
    for atoms in structures:
        if atoms.calc is None:
            atoms.calc = EMT()
            atoms.get_forces()
            atoms.get_stress()
    write(bench.folder / name, structures, format="extxyz")
    level = LevelOfTheory.of(CampaignConfig.model_validate(SETTINGS).labelling.engine)
    labelled: list[Atoms] = []
    with LabelCache(cache_file or bench.files.label_cache) as cache:
        report = import_labels(
            bench.folder / name,
            level,
            cache,
            replacing=replacing,
            on_label=lambda atoms, label: labelled.append(to_train_on(atoms, label)),
        )
        if train:
            enter_imported(bench.files, labelled, cache)
    return report.import_id


def picks_of_an_interrupted_round(bench: Bench, stopping: dict[str, int]) -> list[Atoms]:
    """What the first round has picked, without results; it was stopped before any label."""
    files = bench.files.round(1)

    def stop(_: str) -> None:
        if files.selected.exists():
            raise KeyboardInterrupt

    bench.on_attempt = stop
    with pytest.raises(KeyboardInterrupt):
        bench.run(stopping=stopping)
    bench.on_attempt = lambda _: None
    return [copy_structure(atoms) for atoms in read_structures(files.selected)]


def test_imported_labels_are_trained_on_beside_those_that_were_asked_for(bench: Bench):
    ours = copper_from_elsewhere(5)
    import_to_train(bench, ours)
    bench.run(stopping=ONE_ROUND | {"labels": COUNT})
    # The budget of labels is for those that are computed.
    assert bench.trained_on == [COUNT + 5]
    assert set(bench.dataset()) >= {content_hash(atoms) for atoms in ours}
    for atoms, given in zip(read_structures(bench.files.dataset), ours, strict=False):
        assert is_imported(atoms)
        assert atoms.info[provenance.ENGINE] == "ase imported from ours.xyz"
        np.testing.assert_allclose(atoms.get_forces(), given.get_forces(), atol=1e-7)
    results = read_results(bench.files.folder)
    assert (results.imported, results.imported_not_trained_on) == (5, 0)
    assert re.search(r"imported labels +5 trained on\n", summary_text(results))
    assert set(bench.computed).isdisjoint(content_hash(atoms) for atoms in ours)


def test_imports_in_a_shared_cache_are_shown(bench: Bench):
    """Those of this level of theory: a shared cache holds imports of other campaigns, too."""
    shared = bench.folder / "shared.sqlite"
    structures = copper_from_elsewhere(9)
    import_to_train(bench, structures[:5], cache_file=shared)
    import_to_train(bench, structures[5:], "others.xyz", train=False, cache_file=shared)
    with LabelCache(shared) as cache:
        import_labels(bench.folder / "ours.xyz", LevelOfTheory("other", "{}"), cache)
    bench.run(stopping=ONE_ROUND, labelling={"cache": str(shared)})
    results = read_results(bench.files.folder)
    assert (results.imported, results.imported_not_trained_on) == (5, 4)
    assert "5 trained on, 4 used only where exactly these" in summary_text(results)


def test_crystals_without_a_stress_are_trained_on_until_an_import_brings_it(bench: Bench):
    ours = copper_from_elsewhere(3)
    for atoms in ours:
        atoms.calc = EMT()
    bare = [atoms.copy() for atoms in ours]
    for atoms, full in zip(bare, ours, strict=True):
        energy, forces = full.get_potential_energy(), full.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    import_to_train(bench, bare, "md.xyz")
    bench.run(stopping=ONE_ROUND | {"labels": COUNT})
    hashes = {content_hash(atoms) for atoms in ours}

    def stresses() -> list[bool]:
        dataset = read_structures(bench.files.dataset)
        return [has_stress(atoms) for atoms in dataset if content_hash(atoms) in hashes]

    assert stresses() == [False] * 3
    assert bench.trained_on == [COUNT + 3]
    import_to_train(bench, ours, "again.xyz")
    bench.run(stopping=ONE_ROUND | {"labels": COUNT})
    assert stresses() == [True] * 3
    assert bench.trained_on == [COUNT + 3] * 2


def test_an_import_is_withdrawn_where_the_campaign_has_computed_its_structure(bench: Bench):
    """It needed the stress: the cache has a computed label, and training the imported one."""
    ours = copper_from_elsewhere(2)
    for atoms in ours:
        forces = np.zeros((len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
    import_id = import_to_train(bench, ours)
    assert import_id is not None
    engine = CampaignConfig.model_validate(SETTINGS).labelling.engine
    with LabelCache(bench.files.label_cache) as cache:
        level = LevelOfTheory.of(engine)
        imported = cache.get(ours[0], level)
        assert imported is not None
        computed = replace(imported, import_id=None, attempts=1, stress_eV_per_A3=np.zeros((3, 3)))
        cache.put(ours[0], computed, level, replacing=True)
        assert withdraw_import(bench.files, cache, import_id).trained_on == 2
        kept = cache.get(ours[0], level)
        assert kept is not None
        assert kept.import_id is None
        assert cache.get(ours[1], level) is None
    assert read_structures(bench.files.imported, may_be_empty=True) == []


def test_what_an_import_has_brought_is_known_by_its_number(bench: Bench):
    """Two files of one name: when one is withdrawn, labels of the other one stay."""
    import_ids = []
    for folder, atoms in zip(("one", "two"), copper_from_elsewhere(2), strict=True):
        (bench.folder / folder).mkdir()
        import_ids.append(import_to_train(bench, [atoms], f"{folder}/labels.xyz"))
    imported = read_structures(bench.files.imported)
    assert [atoms.info[provenance.IMPORT] for atoms in imported] == import_ids
    engine = CampaignConfig.model_validate(SETTINGS).labelling.engine
    with LabelCache(bench.files.label_cache) as cache:
        level = LevelOfTheory.of(engine)
        for atoms in imported:  # the campaign has computed both
            known = cache.get(atoms, level)
            assert known is not None
            cache.put(atoms, replace(known, import_id=None, attempts=1), level, replacing=True)
        assert import_ids[0] is not None
        assert withdraw_import(bench.files, cache, import_ids[0]).trained_on == 1
    [kept] = read_structures(bench.files.imported)
    assert kept.info[provenance.IMPORT] == import_ids[1]


def test_a_label_is_on_the_learning_curve_from_the_round_that_learnt_it(bench: Bench):
    """Whether it was imported later, or failed at first and was released later."""
    picked_first = 0

    def fail_first_pick(structure_hash: str) -> None:
        nonlocal picked_first
        asked = read_structures(bench.files.round(1).selected, may_be_empty=True)
        if structure_hash in {content_hash(atoms) for atoms in asked} and not picked_first:
            picked_first = 1
            Labels.failing.add(structure_hash)

    bench.on_attempt = fail_first_pick
    bench.run(stopping=ONE_ROUND)
    Labels.failing.clear()
    with LabelCache(bench.files.label_cache) as cache:
        assert len(release_quarantined(bench.files.label_work, cache)) == 1
    import_to_train(bench, copper_from_elsewhere(4))
    # With more rounds the campaign goes on, and the first round is not trained again.
    bench.run(stopping={"rounds": 2})
    assert bench.trained_on == [COUNT - 1, 2 * COUNT + 4]
    [curve] = learning_curves(read_results(bench.files.folder))
    assert [point.labels for point in curve.points] == [0, *bench.trained_on]


def test_what_is_imported_is_new_to_nobody(bench: Bench, tmp_path, monkeypatch):
    """The selection knows imported labels: of twin candidates it picks the other one."""
    bench.run(stopping=ONE_ROUND)
    picked = read_structures(bench.files.round(1).selected)
    other = make_bench(tmp_path / "other", monkeypatch)
    import_to_train(
        other,
        [Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True) for atoms in picked[:1]],
    )
    other.run(stopping=ONE_ROUND)
    again = read_structures(other.files.round(1).selected)
    assert content_hash(picked[0]) not in {content_hash(atoms) for atoms in again}


@pytest.mark.parametrize("train", [True, False])
def test_picks_that_were_imported_meanwhile_are_labelled_picks(bench: Bench, train: bool):
    picked = picks_of_an_interrupted_round(bench, ONE_ROUND)
    before = len(bench.computed)
    import_to_train(bench, picked, train=train)
    for _ in range(2):  # and not once more
        bench.run(stopping=ONE_ROUND)
        assert bench.trained_on == [COUNT]
    assert len(bench.computed) == before
    assert sorted(bench.dataset()) == sorted(map(content_hash, picked))
    rows = [row for row in read_results(bench.files.folder).labels if row.purpose == "training"]
    assert [(row.outcome, row.from_cache) for row in rows] == [("converged", True)] * COUNT


def test_a_pick_whose_engine_fails_keeps_its_imported_label(bench: Bench):
    """It has no stress, so that the engine is asked for it."""
    picked = picks_of_an_interrupted_round(bench, ONE_ROUND)
    ours = picked[0].copy()
    ours.calc = EMT()
    energy, forces = ours.get_potential_energy(), ours.get_forces()
    ours.calc = SinglePointCalculator(ours, energy=energy, forces=forces)
    import_to_train(bench, [ours])
    Labels.failing = {content_hash(ours)}
    for _ in range(2):  # and not once more
        bench.run(stopping=ONE_ROUND)
        assert bench.trained_on == [COUNT]
    [kept] = [atoms for atoms in read_structures(bench.files.dataset) if not has_stress(atoms)]
    assert content_hash(kept) == content_hash(ours)


def test_a_file_of_all_labels_and_a_new_one_is_imported_into_a_finished_campaign(bench: Bench):
    bench.run(stopping=ONE_ROUND)
    before = len(bench.computed)
    known = read_structures(bench.files.dataset)
    import_to_train(bench, [copy_structure(atoms) for atoms in known] + copper_from_elsewhere(1))
    for _ in range(2):  # and not once more
        bench.run(stopping=ONE_ROUND)
        assert bench.trained_on == [COUNT, COUNT + 1]
    assert len(bench.computed) == before
    assert len(set(bench.dataset())) == len(bench.dataset()) == COUNT + 1
    bench.run(stopping={"rounds": 2})
    assert bench.trained_on == [COUNT, COUNT + 1, 2 * COUNT + 1]


@pytest.mark.parametrize("rounds", [1, 2])
def test_picks_whose_imported_labels_are_withdrawn_are_computed(bench: Bench, rounds: int):
    """Also those of a round that is not the last."""
    stopping = {"rounds": rounds}
    picked = picks_of_an_interrupted_round(bench, stopping)
    theirs = []
    for atoms in picked[:2]:  # with another energy than the engine computes
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + 0.02
        theirs.append(attach_results(atoms, energy, atoms.get_forces(), atoms.get_stress()))
    number = import_to_train(bench, theirs, train=False)
    bench.run(stopping=stopping)
    assert number is not None
    with LabelCache(bench.files.label_cache) as cache:
        assert withdraw_import(bench.files, cache, number).trained_on == 2
    before, trained = len(bench.computed), len(bench.trained_on)
    for _ in range(2):  # and not once more
        bench.run(stopping=stopping)
        assert sorted(bench.computed[before:]) == sorted(map(content_hash, picked[:2]))
        assert bench.trained_on[trained:] == [rounds * COUNT]
    dataset = read_structures(bench.files.dataset)
    assert len({content_hash(atoms) for atoms in dataset}) == rounds * COUNT
    learnt = bench.files.round(rounds).folder / "training-2" / "member-0" / "labels.xyz"
    for atoms in (*dataset, *read_structures(learnt)):
        assert "imported" not in atoms.info[provenance.ENGINE]
    rows = [row for row in read_results(bench.files.folder).labels if row.purpose == "training"]
    assert [(row.outcome, row.from_cache) for row in rows] == [("converged", False)] * len(dataset)


def test_a_finished_campaign_trains_again_when_labels_come_or_go(bench: Bench):
    bench.run(stopping=ONE_ROUND)
    number = import_to_train(bench, copper_from_elsewhere(4))
    computed = list(bench.computed)
    bench.run(stopping=ONE_ROUND)
    bench.run(stopping=ONE_ROUND)  # and not once more
    assert bench.trained_on == [COUNT, COUNT + 4]
    assert number is not None
    with LabelCache(bench.files.label_cache) as cache:
        gone = withdraw_import(bench.files, cache, number)
    assert (gone.labels, gone.trained_on, gone.validated_on) == (4, 4, 0)
    bench.run(stopping=ONE_ROUND)
    assert len(bench.dataset()) == COUNT
    # The training on the labels of before is there still, and is not repeated.
    assert bench.trained_on == [COUNT, COUNT + 4]
    assert Ledger(bench.files.ledger).each(Trained)[1].labels == COUNT
    results = read_results(bench.files.folder)
    assert (results.imported, results.imported_not_trained_on) == (0, 0)
    assert bench.computed == computed
    with LabelCache(bench.files.label_cache) as cache:
        assert cache.imports() == []


def test_a_finished_campaign_says_that_labels_wait_for_a_training(bench: Bench):
    """Those that were imported, and the lack of those that were withdrawn."""

    def waits() -> bool:
        results = read_results(bench.files.folder)
        assert results.finished
        assert results.imports_wait == ("the next 'entrove run' trains" in results.verdict)
        return results.imports_wait

    bench.run(stopping=ONE_ROUND)
    assert not waits()
    number = import_to_train(bench, copper_from_elsewhere(4))
    assert number is not None
    assert waits()
    bench.run(stopping=ONE_ROUND)
    assert not waits()
    with LabelCache(bench.files.label_cache) as cache:
        withdraw_import(bench.files, cache, number)
    assert waits()
    checkpoint = Ledger(bench.files.ledger).each(Trained)[1].checkpoint
    learnt = (bench.files.folder / checkpoint).with_name("labels.xyz")
    for path in (bench.files.dataset, learnt):
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        assert not waits()  # nothing is known, and nothing fails
        path.write_bytes(whole)
    bench.run(stopping=ONE_ROUND)
    assert not waits()


def test_no_model_is_kept_that_has_learnt_withdrawn_labels(bench: Bench):
    """Nor is it accepted again when the settings of the validation change."""
    bench.scales = {1: 0.999, 2: 0.9}  # the model of the first round is the best
    number = import_to_train(bench, copper_from_elsewhere(4))
    bench.run(stopping={"rounds": 2})
    assert read_results(bench.files.folder).best_round == 1
    assert number is not None
    with LabelCache(bench.files.label_cache) as cache:
        withdraw_import(bench.files, cache, number)
    bench.run(stopping={"rounds": 2})
    for validation in ({}, {"negligible_force_meV_per_A": 3.0}):
        bench.run(stopping={"rounds": 2}, validation=validation)
        results = read_results(bench.files.folder)
        assert results.best_round == 2
        summary = Ledger(bench.files.ledger).each(Validated)[1].summary
        assert "4 of the labels that it has learnt were withdrawn" in summary
        assert bench.trained_on == [COUNT + 4, 2 * COUNT + 4, 2 * COUNT]


@pytest.mark.parametrize(("what", "factor"), [("forces", 1.15), ("stress", 1.5)])
def test_corrected_labels_are_trained_on_where_the_energies_were_right(
    bench: Bench, what: str, factor: float
):
    right = copper_from_elsewhere(4)
    wrong = []
    for atoms in right:
        atoms.calc = EMT()
        results = {"forces": atoms.get_forces(), "stress": atoms.get_stress()}
        results[what] = results[what] * factor
        wrong.append(
            attach_results(
                atoms, atoms.get_potential_energy(), results["forces"], results["stress"]
            )
        )
    import_to_train(bench, wrong)
    bench.run(stopping=ONE_ROUND)
    import_to_train(bench, right, "corrected.xyz", replacing=True)
    bench.run(stopping=ONE_ROUND)
    bench.run(stopping=ONE_ROUND)  # and not once more
    assert bench.trained_on == [COUNT + 4] * 2
    [learnt] = bench.files.round(1).folder.glob("training-2/member-0/labels.xyz")
    found = {content_hash(atoms): atoms.calc.results[what] for atoms in read_structures(learnt)}
    for atoms in right:
        np.testing.assert_allclose(found[content_hash(atoms)], atoms.calc.results[what], atol=1e-6)


def test_the_validation_set_is_never_trained_on(bench: Bench):
    bench.run(stopping=ONE_ROUND)
    held_out = read_structures(bench.files.round(0).hold_out)
    structures = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=True) for a in held_out]
    for atoms in structures:  # through the decimals of an OUTCAR
        atoms.positions = np.round(atoms.positions, 5)
    import_to_train(bench, [*structures, *copper_from_elsewhere(1)])
    trained_on = [content_hash(atoms) for atoms in bench.files.training_labels()]
    assert content_hash(copper_from_elsewhere(1)[0]) in trained_on
    assert len(trained_on) == COUNT + 1
