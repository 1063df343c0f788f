from .examine import examine as examine
from .findings import Examination as Examination
from .findings import Finding as Finding
from .findings import State as State
