"""A command in a process of its own that does not outlive the process that started it (host).

``python -m curriculum_rec.launched COMMAND [OPTION=VALUE ...]``: if the starting process is gone, however it
ended, this one gets SIGTERM, by which a run takes a checkpoint and ends.
"""

import os
import signal
import sys
import threading
import time

LOOK_EVERY_SECONDS = 0.5


def end_with(parent: int) -> None:
    """Send SIGTERM to this process once its parent is another one."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from curriculum_rec.cli import main

    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    sys.exit(main())
