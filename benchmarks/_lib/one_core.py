"""Hold a benchmark to one core, and to memory that it has had before.

Nothing here imports jax, so that it can be done before.
"""

import os
import sys

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""Variables of glibc: a process keeps the memory that it has freed.

Where contenders go by turns, one would otherwise pay for the page faults of the next.
"""


def keep_freed_memory() -> None:
    """Start this process anew with `MALLOC`, which is read at the start, unless it is set."""
    if not MALLOC.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})


def one_core() -> dict[str, str]:
    """Bind this process to one core; return the variables that hold XLA and its libraries to it.

    They must be set before jax is imported. Alone they leave XLA several threads, so where a
    process cannot be bound, jax is not held to one core.
    """
    bind()
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {"XLA_FLAGS": flags, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def bind() -> None:
    """Bind this process, and those that it starts, to one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
