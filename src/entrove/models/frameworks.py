"""What the rest of Entrove knows of a framework, a code of machine-learned potentials."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrove._optional import require

if TYPE_CHECKING:
    import entrove.models.loaded


@dataclass(frozen=True)
class Framework:
    """One framework: its models and files, how they are loaded, and which of them can be tuned.

    `package` is what must be importable and `extra` the extra of Entrove that installs it.
    `models` are the names that users type, `suffixes` the endings of the files that it evaluates.
    `loader` is the import path of the function behind `load`, so that names and files are known
    without waiting for torch. With `has_fidelities`, a model may hold several fidelities, one of
    which is chosen as "model@fidelity". `packaged` are those of `models` whose weights the package
    carries, under its licence; `reference` is the paper to cite, and `distributions` are the
    packages whose versions belong to a result.

    `trainable` lists those of `models` and `suffixes` that can be tuned, and `trainable_kinds`
    says the same in a sentence; `untrainable_because` is why the others cannot. How a framework
    trains is known to `entrove.training.trainers` only.
    """

    name: str
    package: str
    extra: str
    models: tuple[str, ...]
    suffixes: tuple[str, ...]
    loader: str
    has_fidelities: bool = False
    packaged: tuple[str, ...] = ()
    reference: str = ""
    distributions: tuple[str, ...] = ()
    trainable: tuple[str, ...] = ()
    trainable_kinds: str = ""
    untrainable_because: str = ""

    def load(
        self, base: str, *, modal: str | None, device: str
    ) -> "entrove.models.loaded.LoadedModel":
        """Load `base`, a name of `models` or the path of a file that exists.

        `modal` is a fidelity, None for a model that has only one; `device` is auto, cpu or cuda.
        """
        module, _, function = self.loader.partition(":")
        return getattr(importlib.import_module(module), function)(base, modal=modal, device=device)

    def evaluates(self, base: str) -> bool:
        """Whether `base`, a name or path without fidelity, belongs to this framework."""
        return base in self.models or base.endswith(self.suffixes)

    def trains(self, base: str) -> bool:
        """Whether `base` is of a kind that this framework can tune."""
        return base in self.trainable or base.endswith(
            tuple(suffix for suffix in self.suffixes if suffix in self.trainable)
        )

    def require_installed(self) -> None:
        """Raise `EntroveError` with the command that installs it when its package is missing."""
        require(self.package, extra=self.extra)
