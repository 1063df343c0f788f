"""A calculator that computes copper well (EMT), and fails on purpose for marked structures.

The worker's process imports it by path, as it would a user's own. What it is
to do is marked in the cell: the third digit after the point of its z length counts `WAYS_TO_FAIL`.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, SCFError
from ase.calculators.emt import EMT

__version__ = "1"

FIVE_WAYS = ("crash", "hang", "not_converged", "garbage", "nan")
WAYS_TO_FAIL = ("fine", *FIVE_WAYS, "exit", "exception", "wrong_shape", "kills_node")


def copper(seed: int, behaviour: str = "fine") -> Atoms:
    """Four copper atoms, displaced; `behaviour` says what the calculator does with them."""
    atoms = bulk("Cu", cubic=True)
    cell = np.diag([3.6, 3.6, 3.6 + 1e-3 * WAYS_TO_FAIL.index(behaviour)])
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    return atoms


def behaviour_of(atoms: Atoms) -> str:
    return WAYS_TO_FAIL[round((atoms.cell[2, 2] - 3.6) * 1e3)]


class Misbehaving(EMT):
    """EMT that misbehaves as it is told.

    `works_from`: the attempt from which on nothing fails. `log`: a file that gets a line per
    calculation.
    """

    def __init__(self, works_from: int = 1000, log: str | None = None, delay_s: float = 0.0):
        super().__init__()
        self.works_from = works_from
        self.log = log
        self.delay_s = delay_s

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        if behaviour_of(atoms) == "kills_node":
            kill_node()
        if self.delay_s:
            time.sleep(self.delay_s)
        attempt = int(Path.cwd().name.rpartition("-")[2])
        if attempt < self.works_from:
            self.fail(behaviour_of(atoms))
        if self.log:
            with Path(self.log).open("a") as handle:
                handle.write(f"{Path.cwd().parent.name}\n")

    def fail(self, behaviour: str) -> None:
        match behaviour:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                print("fatal: this program calls exit")
                os._exit(1)
            case "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(3600)
            case "not_converged":
                raise SCFError("120 steps were not enough")
            case "exception":
                raise RuntimeError("internal error in routine cdiaghg")
            case "garbage":
                self.results["forces"] = self.results["forces"] * 1e9 + 1e12
            case "wrong_shape":
                self.results["forces"] = self.results["forces"][:-1]
            case "nan":
                self.results["energy"] = self.results["free_energy"] = float("nan")


def kill_node() -> None:
    """Kill Parsl's manager with all its workers, as a node without memory ends."""
    _worker, manager, *_ = psutil.Process().parents()
    for process in [manager, *manager.children(recursive=True)]:
        if process.pid != os.getpid():
            process.kill()
    os.kill(os.getpid(), signal.SIGKILL)


class ComputesAnother(EMT):
    """EMT that ends somewhere else than it was asked, as a calculator with a relaxation does."""

    def __init__(self, changes: str):
        super().__init__()
        self.changes = changes

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        assert atoms is not None
        match self.changes:
            case "atoms given":
                atoms.positions[1, 2] += 0.02
            case "own atoms":
                self.atoms.positions[1, 2] += 0.02
            case "cell":
                self.atoms.cell[0, 0] += 0.01
            case "species":
                self.atoms.numbers[0] = 47
            case "nothing":
                self.atoms.positions[2] += self.atoms.cell[1] + 2e-6
        # Asked again, ASE must not find that its own atoms have changed, and compute again.
        self.get_property = lambda name, atoms=None, **_: self.results[name]


def never_converged() -> EMT:
    """A calculator that tells by an attribute."""
    calculator = EMT()
    calculator.converged = False
    return calculator


def refuses_to_start() -> EMT:
    """A calculator that cannot be made here."""
    raise RuntimeError("no licence server")


class Spins(Calculator):
    """A calculator whose energy in eV is the sum of the moments that it starts from."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  as ASE declares it

    def calculate(self, atoms=None, *arguments, **keywords):
        super().calculate(atoms, *arguments, **keywords)
        assert atoms is not None
        self.results = {
            "energy": float(atoms.get_initial_magnetic_moments().sum()),
            "forces": np.zeros((len(atoms), 3)),
            "stress": np.zeros(6),
        }
