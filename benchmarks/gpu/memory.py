"""GPU memory of a process, as the driver counts it: context, libraries and all that its allocator holds."""

import shutil
import subprocess
import threading

# Allocators keep what they have had, so that a look now and then finds the peak.
PERIOD_SECONDS = 0.4


class Watch:
    """Looks while the block runs. `report` has the most that was seen, or nothing where the driver does not say."""

    def __init__(self, pid):
        self.pid, self.peak_mib, self.done = pid, None, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        if shutil.which("nvidia-smi"):
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        if self.thread.ident is not None:
            self.thread.join()

    def look(self):
        while not self.done.wait(PERIOD_SECONDS):
            try:
                said = subprocess.run(["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=10).stdout
            except (OSError, subprocess.TimeoutExpired):
                return
            for line in said.splitlines():
                pid, _, mib = (part.strip() for part in line.partition(","))
                if pid == str(self.pid) and mib.isdecimal():
                    self.peak_mib = max(self.peak_mib or 0, int(mib))

    def report(self):
        return {} if self.peak_mib is None else {"peak_gpu_bytes": self.peak_mib * 2**20}
