from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk

from entrove import provenance
from entrove.errors import ModelError
from entrove.models.prediction import predict
from entrove.models.registry import load
from entrove.structures import attach_results, energy_of, forces_of, stress_of
from entrove.training.config import LossConfig, TrainingConfig
from entrove.training.loss import Targets, huber_sum
from entrove.training.reference_energies import fit_reference_shifts
from entrove.training.replay import dimers_of
from entrove.training.sevennet.fitting import (
    Problem,
    cosine_rate,
    evaluate,
    init_fit,
    is_finished,
    replayed_in,
    restore_state,
    run_epoch,
    save_state,
)
from entrove.training.sevennet.trainee import (
    SHIFT_WEIGHT,
    atom_counts,
    load_trainee,
    stack_targets,
)
from entrove.training.sevennet.weight_average import weights_swapped_in
from entrove.training.split import split_for_stopping
from entrove.training.worker_process import DivergenceError
from small_sevennet import write_small_sevennet


def problem_on(checkpoint, structures, seed=3, watched=0, **settings) -> Problem:
    trainee = load_trainee(str(checkpoint), torch.device("cpu"))
    trainee.shift_reference_energies({"Si": -5.0})
    samples = [trainee.sample(atoms) for atoms in structures]
    config = TrainingConfig(**{"epochs": 4, "batch_size": 3, "learning_rate": 0.01, **settings})
    return Problem(trainee, samples[watched:], samples[:watched], config, seed)


def replaying(problem: Problem, share: float, structures) -> Problem:
    config = problem.config.model_copy(update={"replay": share})
    return replace(problem, config=config, replayed=problem.trainee.label(structures))


def weights_after(problem: Problem, epochs: int) -> dict[str, torch.Tensor]:
    state = init_fit(problem)
    for _ in range(epochs):
        run_epoch(problem, state)
    return state.best


def huber_by_hand(errors: np.ndarray, delta: float) -> float:
    small = np.abs(errors) <= delta
    return float(np.where(small, errors**2 / 2, delta * (np.abs(errors) - delta / 2)).mean())


def test_loss_is_the_sum_of_weighted_huber_means():
    rng = np.random.default_rng(0)
    predicted = [rng.normal(scale=0.02, size=shape) for shape in ((2,), (5, 3), (2, 6))]
    reference = [np.zeros(shape) for shape in ((2,), (5, 3), (2, 6))]
    reference[2][1] = np.nan  # the second structure has no stress
    counts = np.array([2, 3])
    config = LossConfig(energy_weight=2.0, force_weight=3.0, stress_weight=5.0)
    expected = (
        2.0 * huber_by_hand(predicted[0] / counts, config.energy_delta_eV_per_atom)
        + 3.0 * huber_by_hand(predicted[1], config.force_delta_eV_per_A)
        + 5.0 * huber_by_hand(predicted[2][0], config.stress_delta_eV_per_A3)
    )
    loss = huber_sum(
        Targets(*(torch.tensor(part) for part in predicted)),
        Targets(*(torch.tensor(part) for part in reference)),
        torch.tensor(counts),
        config,
    )
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_samples_carry_house_units(small_checkpoint, labelled_silicon):
    """Predictions leave with ASE's sign and order of the stress, equal to SevenNet's own
    calculator."""
    from entrove.models.registry import load

    problem = problem_on(small_checkpoint, labelled_silicon)
    calculator = load(str(small_checkpoint), device="cpu").calculator()
    predicted = evaluate(problem.trainee, problem.training, batch_size=8)[0]
    for index, atoms in enumerate(labelled_silicon):
        # One sum in float32 against the same sum in another order: a few units in the seventh
        # digit.
        np.testing.assert_allclose(
            predicted.stress_eV_per_A3[index], calculator.get_stress(atoms), atol=1e-6
        )
        np.testing.assert_allclose(
            predicted.forces_eV_per_A[2 * index : 2 * index + 2],
            calculator.get_forces(atoms),
            atol=1e-6,
        )
        shifted = calculator.get_potential_energy(atoms) - 5.0 * len(atoms)
        assert float(predicted.energy_eV[index]) == pytest.approx(shifted, abs=1e-5)


@pytest.mark.parametrize("zero_eV", [-7900.0, -535000.0])
def test_the_loss_does_not_depend_on_the_zero_of_energy(
    small_checkpoint, labelled_silicon, tmp_path, zero_eV
):
    """All-electron energies are learnt as others are, also by a model that has their zero."""
    crystals = [
        atoms.repeat((1, 1, copies % 3 + 1)) for copies, atoms in enumerate(labelled_silicon)
    ]
    config = LossConfig(force_weight=0.0, stress_weight=0.0)

    def loss(base, constant_eV, error_eV_per_atom) -> float:
        trainee = load_trainee(str(base), torch.device("cpu"))
        trainee.module.eval()
        untuned = predict(load(str(small_checkpoint), device="cpu"), crystals)
        labels = [
            attach_results(
                atoms,
                energy_of(atoms) + (constant_eV + (-1) ** index * error_eV_per_atom) * len(atoms),
                forces_of(atoms),
                stress_of(atoms),
            )
            for index, atoms in enumerate(untuned)
        ]
        samples = [trainee.sample(atoms) for atoms in labels]
        energies = trainee.predict(samples).energy_eV.detach().tolist()
        trainee.shift_reference_energies(fit_reference_shifts(labels, energies))
        trainee.save(tmp_path / "shifted.pth", {}, epoch=1)
        counts = atom_counts(samples, trainee.device)
        predicted, targets = trainee.predict(samples), stack_targets(samples, trainee.device)
        return float(huber_sum(predicted, targets, counts, config).detach())

    for error in (0.0, 0.001):
        ordinary = loss(small_checkpoint, 0.0, error)
        # Squares of a thousandth of a meV/atom: energies of some eV per atom are rounded to that.
        assert loss(small_checkpoint, zero_eV, error) == pytest.approx(ordinary, abs=1e-12)
        assert loss(tmp_path / "shifted.pth", zero_eV, error) == pytest.approx(ordinary, abs=1e-12)


def test_loss_falls(small_checkpoint, labelled_silicon):
    problem = problem_on(small_checkpoint, labelled_silicon, epochs=20)
    state = init_fit(problem)
    first = run_epoch(problem, state)
    while not is_finished(state, problem.config):
        last = run_epoch(problem, state)
    assert last.number == 20
    assert last.training_loss < 0.7 * first.training_loss


def test_each_species_gets_its_own_shift_also_where_all_had_one(tmp_path):
    """SevenNet's own default is one energy per atom for all species of a model."""
    base = write_small_sevennet(tmp_path / "base.pth", shift=-1.5)
    structures = [bulk("Si"), bulk("NaCl", "rocksalt", a=5.6), bulk("Na", "bcc", a=4.2)]
    structures[1].rattle(0.1, seed=1)
    trainee = load_trainee(str(base), torch.device("cpu"))
    shifts = {"Na": -1.0, "Cl": -3.0, "Si": 7.0}
    trainee.shift_reference_energies(shifts)
    trainee.save(tmp_path / "shifted.pth", {}, epoch=1)
    before, after = (
        load(str(tmp_path / f"{name}.pth"), device="cpu").calculator()
        for name in ("base", "shifted")
    )
    for atoms, sample in zip(structures, trainee.label(structures), strict=True):
        expected = before.get_potential_energy(atoms) + sum(shifts[s] for s in atoms.symbols)
        assert float(sample.targets.energy_eV) == pytest.approx(expected, abs=1e-5)
        assert after.get_potential_energy(atoms) == pytest.approx(expected, abs=1e-5)
        np.testing.assert_allclose(after.get_forces(atoms), before.get_forces(atoms), atol=1e-6)


def test_a_frozen_trunk_keeps_its_weights(small_checkpoint, labelled_silicon):
    problem = problem_on(small_checkpoint, labelled_silicon[:3])
    module = problem.trainee.module
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    layers = {name.split("_")[0] for name in before if name[0].isdigit()}
    problem.trainee.freeze_trunk()
    changed = weights_after(problem, 1)
    last = f"{max(map(int, layers))}_"
    assert len(layers) > 1
    assert {name.startswith((last, "reduce_")) for name in changed} == {True}
    assert any(not torch.equal(before[name], weight) for name, weight in changed.items())
    for name, weight in module.named_parameters():
        assert name in changed or torch.equal(before[name], weight)


def test_equal_seeds_give_equal_weights_and_others_do_not(small_checkpoint, labelled_silicon):
    runs = [
        weights_after(problem_on(small_checkpoint, labelled_silicon, seed=seed), epochs=2)
        for seed in (3, 3, 4)
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_restored_state_continues_bitwise(small_checkpoint, labelled_silicon, tmp_path, schedule):
    settings = {"schedule": schedule, "plateau_patience": 1, "watched": 2}
    whole = problem_on(small_checkpoint, labelled_silicon, **settings)
    uninterrupted = init_fit(whole)
    for _ in range(4):
        run_epoch(whole, uninterrupted)
    first = problem_on(small_checkpoint, labelled_silicon, **settings)
    state = init_fit(first)
    for _ in range(2):
        run_epoch(first, state)
    save_state(tmp_path / "state.pt", state, first.trainee)
    second = problem_on(small_checkpoint, labelled_silicon, **settings)
    resumed = init_fit(second)
    restore_state(tmp_path / "state.pt", resumed, second.trainee)
    for _ in range(2):
        run_epoch(second, resumed)
    assert resumed.history == uninterrupted.history
    assert all(torch.equal(resumed.best[name], uninterrupted.best[name]) for name in resumed.best)


def test_a_state_of_an_earlier_version_continues_unless_it_has_another_zero_of_energy(
    small_checkpoint, labelled_silicon, tmp_path
):
    problem = problem_on(small_checkpoint, labelled_silicon)
    state, path = init_fit(problem), tmp_path / "state.pt"
    run_epoch(problem, state)
    save_state(path, state, problem.trainee)
    content = torch.load(path) | {"version": 1}
    torch.save(content, path)
    restored = init_fit(problem)
    restore_state(path, restored, problem.trainee)
    assert restored.history == state.history
    # Trained reference energies were in the weights of version 1, and stand apart from them now.
    content["weights"][SHIFT_WEIGHT] = torch.zeros(3)
    torch.save(content, path)
    with pytest.raises(ModelError, match="training state of another version"):
        restore_state(path, restored, problem.trainee)


def test_gradient_is_clipped(small_checkpoint, labelled_silicon):
    """With a vanishing limit on the gradient's norm, that norm is what Adam sees: its moment is
    tiny."""
    problem = problem_on(small_checkpoint, labelled_silicon, gradient_clip=1e-9)
    state = init_fit(problem)
    run_epoch(problem, state)
    moments = [entry["exp_avg"].norm() for entry in state.optimizer.state.values()]
    assert 0 < float(torch.stack(moments).norm()) <= 1e-9


def test_the_norm_that_is_reported_is_that_of_the_gradient_before_the_clip(
    small_checkpoint, labelled_silicon
):
    """A limit above it changes nothing, one below it does."""

    def after_an_epoch(clip: float):
        problem = problem_on(small_checkpoint, labelled_silicon, gradient_clip=clip)
        state = init_fit(problem)
        return run_epoch(problem, state), state

    free, untouched = after_an_epoch(1e6)
    assert free.gradient_norm is not None
    above, same = after_an_epoch(1.01 * free.gradient_norm)
    assert above == free
    assert all(torch.equal(same.average[name], untouched.average[name]) for name in same.average)
    _, clipped = after_an_epoch(0.5 * free.gradient_norm)
    assert not all(
        torch.equal(clipped.average[name], untouched.average[name]) for name in same.average
    )


def test_watched_loss_stops_and_picks_the_best_epoch(small_checkpoint, labelled_silicon):
    problem = problem_on(
        small_checkpoint,
        labelled_silicon,
        watched=2,
        epochs=200,
        learning_rate=0.1,
        stop_patience=3,
    )
    state = init_fit(problem)
    while not is_finished(state, problem.config):
        run_epoch(problem, state)
    watched = [record.watched_loss for record in state.history]
    assert len(watched) < 200
    assert state.best_epoch == 1 + int(np.argmin(watched))
    assert len(watched) - state.best_epoch == 3


def test_diverged_loss_is_an_error(small_checkpoint, labelled_silicon):
    problem = problem_on(small_checkpoint, labelled_silicon)
    with torch.no_grad():
        problem.trainee.module.get_parameter("rescale_atomic_energy.shift").fill_(torch.nan)
    with pytest.raises(ModelError, match=r"the loss of epoch 1 is nan; lower learning_rate"):
        run_epoch(problem, init_fit(problem))


def test_a_watched_loss_that_is_not_finite_is_an_error(small_checkpoint, labelled_silicon):
    """It would never improve, and the best weights would be those that are not tuned."""
    problem = problem_on(small_checkpoint, labelled_silicon, watched=2)
    problem.watched[1].targets.forces_eV_per_A[0, 0] = torch.nan
    with pytest.raises(DivergenceError, match=r"the watched loss of epoch 1 is nan; lower"):
        run_epoch(problem, init_fit(problem))


def test_cosine_rises_then_falls_to_zero():
    rates = [cosine_rate(step, 100, 1.0) for step in range(100)]
    assert np.argmax(rates) in (4, 5)
    assert rates[0] == pytest.approx(0.2)
    assert all(np.diff(rates[5:]) < 0)
    assert rates[-1] < 1e-3


def test_few_labels_are_all_trained_on_and_many_are_split_once():
    rng = np.random.default_rng(0)
    structures = [bulk("Si") for _ in range(30)]
    for atoms in structures:
        atoms.rattle(0.1, rng=rng)
    structures += [atoms.copy() for atoms in structures]  # every structure twice
    config = TrainingConfig(stop_fraction=0.1, stop_at_least_labels=60)
    assert split_for_stopping(structures[:59], config, seed=0) == (list(range(59)), [])
    trained, watched = split_for_stopping(structures, config, seed=0)
    assert len(watched) == 6
    assert sorted(trained + watched) == list(range(60))
    # Copies stay together: a copy in the other half would make the watched loss a training loss.
    assert not {index % 30 for index in trained} & {index % 30 for index in watched}
    assert split_for_stopping(structures, config, seed=1)[1] != watched
    # Steps that become small by themselves need nothing to watch.
    for schedule, aside in (("cosine", 0), ("plateau", 6)):
        default = TrainingConfig(schedule=schedule)
        assert len(split_for_stopping(structures, default, seed=0)[1]) == aside


def test_snapshots_of_one_trajectory_are_trained_on_or_watched(caplog):
    """A snapshot that was trained on would hide that its neighbours in time are overfitted."""
    rng = np.random.default_rng(1)
    structures = [bulk("Si") for _ in range(80)]
    for index, atoms in enumerate(structures):
        atoms.rattle(0.1, rng=rng)
        atoms.info |= {provenance.WALKER: index % 20, provenance.POOL: "walkers"}
    config = TrainingConfig(stop_fraction=0.1, stop_at_least_labels=60)
    for seed in range(5):
        trained, watched = split_for_stopping(structures, config, seed=seed)
        assert sorted(trained + watched) == list(range(80))
        assert len(watched) == 8
        assert not {index % 20 for index in trained} & {index % 20 for index in watched}
    for atoms in structures:
        atoms.info[provenance.WALKER] = 0
    assert split_for_stopping(structures, config, seed=0)[1] == []
    assert "no label is set aside for early stopping" in caplog.text


def test_every_element_is_learnt_whatever_is_watched():
    """Nothing of an element would be learnt otherwise, not even its reference energy."""
    rng = np.random.default_rng(2)
    structures = [bulk("Si", cubic=True) for _ in range(80)]
    for index, atoms in enumerate(structures):
        atoms.rattle(0.3, rng=rng)
        if index in (0, 30):  # two labels of phosphorus, each of its own
            atoms.symbols[0] = "P"
        if index in (1, 2):  # the two of germanium are of one trajectory
            atoms.symbols[1] = "Ge"
            atoms.info |= {provenance.WALKER: 1, provenance.POOL: "walkers"}
    config = TrainingConfig(stop_fraction=0.4, stop_at_least_labels=60)
    watched_phosphorus = 0
    for seed in range(30):
        trained, watched = split_for_stopping(structures, config, seed=seed)
        learnt = {symbol for index in trained for symbol in structures[index].symbols}
        assert learnt == {"Si", "P", "Ge"}
        assert sorted(trained + watched) == list(range(80))
        assert len(watched) == 32
        watched_phosphorus += len({0, 30} & set(watched))
    assert watched_phosphorus  # one of them may be watched


def test_splits_that_leave_every_element_do_not_change():
    """A training that was interrupted goes on with the labels that it began with."""
    structures = [bulk("GaAs", "zincblende", a=5.65 + 0.01 * step) for step in range(30)]
    for atoms in structures[::2]:
        atoms.symbols[0] = "In"
    config = TrainingConfig(stop_fraction=0.2, stop_at_least_labels=10)
    assert [split_for_stopping(structures, config, seed=seed)[1] for seed in range(3)] == [
        [1, 7, 8, 9, 15, 23],
        [1, 11, 16, 19, 22, 24],
        [1, 2, 7, 15, 17, 25],
    ]


def test_no_label_is_watched_where_each_has_its_element(caplog):
    structures = [bulk("Si", cubic=True) for _ in range(4)]
    for atoms, symbol in zip(structures, ("P", "Ge", "C", "N"), strict=True):
        atoms.symbols[0] = symbol
    config = TrainingConfig(stop_fraction=0.25, stop_at_least_labels=2)
    assert split_for_stopping(structures, config, seed=0) == ([0, 1, 2, 3], [])
    assert "hold the only labels of an element" in caplog.text


def test_equal_weights_give_equal_files(small_checkpoint, tmp_path):
    """The hash of its file identifies a model, so the file must not depend on its name."""
    trainee = load_trainee(str(small_checkpoint), torch.device("cpu"))
    for name in ("model.pth", "another.pth"):
        trainee.save(tmp_path / name, {}, epoch=1)
    assert (tmp_path / "model.pth").read_bytes() == (tmp_path / "another.pth").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another.pth", "model.pth"]


def test_replayed_structures_have_the_labels_of_the_untuned_model(small_checkpoint):
    """Those of SevenNet's own calculator, moved by the reference energies."""
    cell = bulk("Si", "diamond", a=5.3).repeat((2, 1, 1))
    cell.rattle(0.1, seed=4)
    structures = [cell, *dimers_of(["Si"])[2:5]]
    problem = problem_on(small_checkpoint, [])
    calculator = load(str(small_checkpoint)).calculator()
    for atoms, sample in zip(structures, problem.trainee.label(structures), strict=True):
        atoms.calc = calculator
        targets = sample.targets
        expected = atoms.get_potential_energy() - 5.0 * len(atoms)
        assert float(targets.energy_eV) == pytest.approx(expected, abs=1e-4)
        np.testing.assert_allclose(targets.forces_eV_per_A, atoms.get_forces(), atol=1e-5)
        if atoms.pbc.all():
            np.testing.assert_allclose(targets.stress_eV_per_A3[0], atoms.get_stress(), atol=1e-6)
        else:
            assert targets.stress_eV_per_A3.isnan().all()


def test_a_model_that_replays_forgets_less(small_checkpoint, labelled_silicon):
    dimers = dimers_of(["Si"])
    changes = {}
    for share in (0.0, 0.5):
        problem = problem_on(small_checkpoint, labelled_silicon, epochs=12)
        before = [float(sample.targets.energy_eV) for sample in problem.trainee.label(dimers)]
        if share:
            problem = replaying(problem, share, dimers)
        weights = weights_after(problem, 12)
        with weights_swapped_in(problem.trainee.module, weights):
            after = [float(sample.targets.energy_eV) for sample in problem.trainee.label(dimers)]
        changes[share] = np.abs(np.subtract(after, before)).mean()
    assert changes[0.5] < 0.5 * changes[0.0]


def test_a_resumed_replay_equals_an_uninterrupted_one(
    small_checkpoint, labelled_silicon, tmp_path
):
    def start() -> Problem:
        return replaying(problem_on(small_checkpoint, labelled_silicon), 0.4, dimers_of(["Si"]))

    expected = weights_after(start(), 4)
    problem = start()
    state = init_fit(problem)
    for _ in range(2):
        run_epoch(problem, state)
    save_state(tmp_path / "state.pt", state, problem.trainee)
    problem = start()
    state = init_fit(problem)
    restore_state(tmp_path / "state.pt", state, problem.trainee)
    for _ in range(2):
        run_epoch(problem, state)
    for name, weight in state.best.items():
        assert torch.equal(weight, expected[name])


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_share_of_replay_holds_for_batches_of_any_size(
    share, batch_size, small_checkpoint, labelled_silicon
):
    problem = problem_on(small_checkpoint, labelled_silicon, batch_size=batch_size)
    problem = replaying(problem, share, dimers_of(["Si"]))
    sizes = [len(replayed_in(problem, step)) for step in range(200)]
    assert max(sizes) - min(sizes) <= 1
    replayed = sum(sizes)
    assert abs(replayed - share * (replayed + 200 * batch_size)) < 1


@pytest.mark.parametrize(("share", "each"), [(0.25, 1), (0.4, 2), (0.9, 12)])
def test_all_that_is_replayed_has_its_turn(share, each, small_checkpoint, labelled_silicon):
    problem = replaying(problem_on(small_checkpoint, labelled_silicon), share, dimers_of(["Si"]))
    assert problem.turns.per_step == pytest.approx(each)
    steps = [replayed_in(problem, step) for step in range(24 // each)]
    assert {len(step) for step in steps} == {each}
    turns = [id(sample) for step in steps for sample in step]
    everything = sorted(id(sample) for sample in problem.replayed)
    assert sorted(turns[:12]) == sorted(turns[12:24]) == everything
    assert turns[:12] != turns[12:24]


def test_reference_energies_of_one_fidelity_leave_the_other(labelled_silicon, tmp_path):
    trainee = load_trainee("7net-mf-0", torch.device("cpu"), "PBE")
    trainee.shift_reference_energies({"Si": 1.25})
    trainee.save(tmp_path / "shifted.pth", {}, epoch=1)
    atoms = labelled_silicon[0]

    def energy(name: str) -> float:
        (predicted,) = predict(load(name, device="cpu"), [atoms])
        return energy_of(predicted)

    for modal, shift_eV in (("PBE", 1.25), ("R2SCAN", 0.0)):
        changed = energy(f"{tmp_path}/shifted.pth@{modal}") - energy(f"7net-mf-0@{modal}")
        assert changed == pytest.approx(shift_eV * len(atoms), abs=1e-4)
