"""How many cores a benchmark keeps to."""

import os


def keep_to(cores: int) -> None:
    """Leave this process and its children no more cores than these, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
