from .frame import Frame as Frame
from .frame import LabelKeys as LabelKeys
from .reading import read_frames as read_frames
