from .config import TrainingConfig as TrainingConfig
from .trained_model import TrainedModel as TrainedModel
from .tuning import fine_tune as fine_tune
