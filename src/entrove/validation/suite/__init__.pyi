from .config import SuiteConfig as SuiteConfig
from .result import CheckResult as CheckResult
from .result import Outcome as Outcome
from .result import SuiteResult as SuiteResult
from .run import run_suite as run_suite
