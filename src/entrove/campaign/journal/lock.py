"""The lock that lets only one process at a time run a campaign."""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from entrove.errors import CampaignError
from entrove.file_locks import NoFileLocksError, try_to_lock


@contextmanager
def hold_campaign(folder: Path) -> Generator[None]:
    """Hold the lock of a campaign until the block ends.

    The kernel releases it when the process dies, so no lock is left behind by a crash. Raises
    `CampaignError` when another process holds it, `NoFileLocksError` where there are no locks.
    """
    path = folder / "campaign.lock"
    with path.open("a+", encoding="utf-8") as handle:
        if not try_to_lock(handle):
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            raise CampaignError(
                f"{folder}: this campaign is running already ({holder}); "
                "wait for it or stop it ('entrove status' shows its progress)"
            )
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        yield


def is_held(folder: Path) -> bool:
    """Return whether a process is running the campaign in `folder` now."""
    path = folder / "campaign.lock"
    if not path.exists():
        return False
    with path.open("r", encoding="utf-8") as handle:
        # Shared, so that several readers do not mistake each other for a running campaign.
        try:
            return not try_to_lock(handle, shared=True)
        except NoFileLocksError:  # no campaign can run there
            return False
