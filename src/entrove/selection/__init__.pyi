from .config import SelectionConfig as SelectionConfig
from .farthest_point import select_farthest as select_farthest
from .from_structures import select as select
from .result import Selection as Selection
