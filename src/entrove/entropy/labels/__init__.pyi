from .posterior import LabelPosterior as LabelPosterior
from .rows import LabelRowMap as LabelRowMap
from .rows import LabelRows as LabelRows
