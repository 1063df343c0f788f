from .config import EntropyConfig as EntropyConfig
from .config import LabelsConfig as LabelsConfig
from .dataset import EntropyDataset as EntropyDataset
from .functional import Bias as Bias
from .functional import Entropy as Entropy
from .local import LocalEntropy as LocalEntropy
