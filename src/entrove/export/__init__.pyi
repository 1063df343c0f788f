from .agreement import Agreement as Agreement
from .agreement import Check as Check
from .export import Exported as Exported
from .export import export as export
