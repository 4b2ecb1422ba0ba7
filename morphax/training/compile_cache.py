"""Cache of compiled programs on disk, so that the same command starts at once the second time."""

import hashlib
import os
import platform
from pathlib import Path

import jax

SWITCH = "MORPHAX_CACHE"
"""Variable of the environment that names the folder of the cache; "off" turns it off."""


def keep_compiled(*, folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Keep compiled programs in a folder, from which later processes read them.

    `morphax learn`, `apply` and `evaluate`, and the examples, call this when they start. Nothing
    changes where JAX has a cache already (`jax_compilation_cache_dir`,
    `JAX_COMPILATION_CACHE_DIR`), or where the folder cannot be written in. The folder may be
    deleted at any time.

    Args:
        folder: folder of the cache. By default the one that the variable MORPHAX_CACHE names, or
            `morphax` in the cache folder of the user (`XDG_CACHE_HOME`, or `~/.cache`); none if
            MORPHAX_CACHE is "off".

    Returns:
        The folder in use, with a sub-folder for each kind of processor, or None.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = keep_compiled(folder=place)  # None: these tests have a cache already
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None):
        return None
    place = folder or os.environ.get(SWITCH) or _user_folder()
    if str(place).lower() == "off":
        return None
    used = Path(place).expanduser().absolute() / _processor()
    try:
        used.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(used, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(used))
    # By default JAX keeps only what took a second or more to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return used


def _user_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path("~/.cache")) / "morphax"


def _processor() -> str:
    """Name the kind of processor: machines that share a home may not share machine code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    digest = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{platform.machine() or 'cpu'}-{digest}"
