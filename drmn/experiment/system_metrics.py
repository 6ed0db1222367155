"""Load of a trial's machine: `system/` metrics, which MLflow shows on a page for them."""

import psutil
import torch

MEBIBYTE = 2**20


class SystemMetrics:
    """Samples this process and its machine from one epoch to the next."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.sample()  # psutil measures since the sample before

    def sample(self) -> dict[str, float]:
        """Return what was used since the last sample: percents of all cores, mebibytes."""
        memory, own = psutil.virtual_memory(), self.process.memory_info()
        found = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_cpu_percentage": self.process.cpu_percent(),
            "system/process_memory_megabytes": own.rss / MEBIBYTE,
        }
        if torch.cuda.is_available():
            free, every = torch.cuda.mem_get_info()
            found["system/gpu_memory_usage_megabytes"] = (every - free) / MEBIBYTE
        return found
