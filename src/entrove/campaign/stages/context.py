"""What every stage of a running campaign is given."""

from dataclasses import dataclass, field

from entrove.campaign.configuration.check import CheckedCampaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.journal.ledger import Ledger
from entrove.campaign.journal.progress import ProgressListener
from entrove.campaign.stages.models import CampaignModels
from entrove.campaign.workspace import Workspace
from entrove.execution.running import Executors, Programs
from entrove.execution.settings import ParslExecution, SlurmExecution, ThisMachine


@dataclass(frozen=True)
class CampaignRun:
    """A campaign that is running.

    Stages pass structures to each other through the files of the workspace, and everything else
    through the ledger, so that any stage can be the first one after an interruption.
    """

    campaign: CheckedCampaign
    ledger: Ledger
    models: CampaignModels
    listener: ProgressListener
    executors: Executors = field(default_factory=Executors)

    @property
    def config(self) -> CampaignConfig:
        """The checked configuration."""
        return self.campaign.config

    @property
    def files(self) -> Workspace:
        """The files of the campaign."""
        return self.campaign.workspace

    def programs(self, execution: ThisMachine | SlurmExecution | ParslExecution) -> Programs:
        """Where programs run with the settings of an executor."""
        return self.executors.programs(execution, self.files.workers)
