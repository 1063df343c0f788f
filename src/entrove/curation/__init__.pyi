from .convert import Conversion as Conversion
from .convert import convert as convert
