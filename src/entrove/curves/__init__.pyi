from .config import StudyConfig as StudyConfig
from .results import Curve as Curve
from .results import Point as Point
from .results import StudyResults as StudyResults
from .results import read_study as read_study
from .study import run_study as run_study
