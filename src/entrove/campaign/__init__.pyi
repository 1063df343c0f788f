from .from_config import run as run
from .results.read import read_results as read_results
from .results.results import CampaignResults as CampaignResults
