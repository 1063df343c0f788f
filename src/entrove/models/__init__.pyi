from .committee import committee_of as committee_of
from .committee import force_spreads as force_spreads
from .loaded import LoadedModel as LoadedModel
from .prediction import predict as predict
from .registry import load as load
from .verify import verified as verified
