from .convert import Conversion as Conversion
from .convert import convert as convert
from .curate import Curation as Curation
from .curate import LeftOut as LeftOut
from .curate import Pick as Pick
from .curate import curate as curate
