"""Label a list of structures without a campaign."""

from collections.abc import Callable, Iterable
from pathlib import Path

from ase import Atoms

from entrove.labelling.checks import check_engine, check_executor
from entrove.labelling.config import LabellingConfig
from entrove.labelling.engines.base import Engine
from entrove.labelling.labeller import Labeller
from entrove.labelling.labels import Label
from entrove.labelling.sanity import find_uncomputable_structure
from entrove.labelling.spin import require_moments
from entrove.labelling.store.cache import LabelCache
from entrove.labelling.store.listing import release_failures_of
from entrove.labelling.store.moments import with_moments_to_start_from
from entrove.structures import species_of

CACHE_FILE = "labels.sqlite"
"""Name of the label cache in the work folder, where no other is given."""


def label(
    structures: Iterable[Atoms],
    engine: LabellingConfig | Engine,
    *,
    folder: str | Path,
    cache: str | Path | None = None,
    species: Iterable[str] | None = None,
    retry_failed: bool = False,
    on_label: Callable[[int, Label], None] | None = None,
) -> list[Label]:
    """Label structures without a campaign.

    What a call that was interrupted had finished is not computed again by the next one with the
    same arguments: labels come from the cache, finished attempts from `folder`.

    Args:
        structures: What to label. Equal structures are computed once. They start from their
            initial magnetic moments or, without these, from the ones that their calculator has
            computed.
        engine: The engine, run by two workers on this machine; or a configuration with everything
            that a campaign has under its key `labelling`.
        folder: Work folder, which keeps the engine's files. All labels in it have one level of
            theory.
        cache: SQLite file that remembers every label, and may be shared with campaigns; by default
            the one that the configuration names, else `labels.sqlite` in `folder`.
        species: Chemical symbols of everything that will ever have this level of theory; by
            default those of `structures`. GPAW's and VASP's data files of these elements are part
            of it.
        retry_failed: Whether labels that failed in an earlier call with the same `folder` are
            computed again; otherwise these failures are returned.
        on_label: Called with the index of a structure and its label, as labels come.

    Returns one label per structure, in their order: energies in eV, forces in eV/A, stress in
    eV/A^3. Not all need be converged: `Label.attach` works only for those whose `outcome` says so.

    Raises `LabelError` when the engine or the executor cannot be used here, when the engine would
    drop the moments of a structure, when `folder` belongs to another level of theory, or when the
    machine fails while labelling (disk full, say).

    >>> import tempfile
    >>> from ase.build import bulk
    >>> from entrove.labelling.engines.ase import AseCalculator
    >>> copper = bulk("Cu", cubic=True)
    >>> emt = AseCalculator(calculator="ase.calculators.emt:EMT")
    >>> (found,) = label([copper], emt, folder=tempfile.mkdtemp())
    >>> found.outcome.value, round(found.attach(copper).get_potential_energy(), 3)
    ('converged', -0.023)
    """
    structures = list(structures)
    config = engine if isinstance(engine, LabellingConfig) else _with_engine(engine)
    symbols = list(species_of(structures) if species is None else species)
    config = config.resolved_against(Path.cwd())
    check_executor(config)
    check_engine(config, symbols)
    structures = [with_moments_to_start_from(atoms) for atoms in structures]
    require_moments(config.engine, structures)
    config = config.model_copy(update={"engine": config.engine.bound_to(symbols)})
    cache_path = cache or config.cache or Path(folder) / CACHE_FILE
    with LabelCache(cache_path) as labels, Labeller(config, labels, folder) as labeller:
        if retry_failed:
            whole = [atoms for atoms in structures if not find_uncomputable_structure(atoms)]
            release_failures_of(whole, folder, labels)
        found: dict[int, Label] = {}
        for index, new in labeller.label(structures):
            found[index] = new
            if on_label is not None:
                on_label(index, new)
    return [found[index] for index in range(len(structures))]


def _with_engine(engine: Engine) -> LabellingConfig:
    return LabellingConfig.model_validate({"engine": engine})
