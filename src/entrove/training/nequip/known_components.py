"""NequIP's Huber loss, where a batch may hold no known component at all."""

import nequip.train
import torch


class HuberOfKnown(nequip.train.HuberLoss):
    """A mean over no component is zero: what is unknown teaches nothing.

    NequIP's own is 0 / 0 there. Stresses are unknown of molecules, and where a label has none.
    """

    def compute(self) -> torch.Tensor:
        """Return the mean of the Huber loss over the components that were known."""
        return torch.as_tensor(self.sum) / torch.as_tensor(self.count).clamp(min=1)
