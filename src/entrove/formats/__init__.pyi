from .frame import Frame as Frame
from .frame import LabelKeys as LabelKeys
from .reading import read_frames as read_frames
from .writing import FORMATS as FORMATS
from .writing import Written as Written
from .writing import write_frames as write_frames
