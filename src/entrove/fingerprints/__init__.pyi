from .config import FingerprintConfig as FingerprintConfig
from .from_structures import Fingerprints as Fingerprints
from .from_structures import fingerprint as fingerprint
from .gom import GaussianOverlap as GaussianOverlap
from .lengths import resolve as resolve
from .lengths import resolve_length as resolve_length
from .radii import distinct_widths as distinct_widths
