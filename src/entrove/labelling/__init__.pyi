from .config import LabellingConfig as LabellingConfig
from .label_structures import label as label
from .labeller import Labeller as Labeller
from .labels import Label as Label
from .labels import Outcome as Outcome
from .level_of_theory import LevelOfTheory as LevelOfTheory
from .store.cache import LabelCache as LabelCache
from .store.imports import import_labels as import_labels
