"""What a test run started ends with it, also when the run is killed."""

import os
import select
import signal
import subprocess
import sys

from tests.structure.sources import ROOT

RUN = """
from tests.tools.processes import LoggedProcess
ended, left = LoggedProcess(["true"]), LoggedProcess(["sleep", "1000"])
ended.wait()
print(left.pid, flush=True)
left.wait(1000)
"""


def test_a_killed_run_leaves_nothing_behind() -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert run.stdout is not None
    left = os.pidfd_open(int(run.stdout.readline()))
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    # Readable once it has ended.
    assert select.select([left], [], [], 20)[0] == [left]
    os.close(left)
