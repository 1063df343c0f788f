from ._version import __version__ as __version__
from .entropy.dataset import EntropyDataset as EntropyDataset
from .errors import EntroveError as EntroveError
from .fingerprints.from_structures import fingerprint as fingerprint
from .sampling.bias.calculator import EntropyCalculator as EntropyCalculator
from .sampling.bias.entropy_bias import EntropyBias as EntropyBias
from .selection.from_structures import select as select
from .training.bundle import load_model as load_model
