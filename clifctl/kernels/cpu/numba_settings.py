"""What the environment says to numba: read before the first kernel, refused where it is wrong."""

import importlib
import os
import re
import warnings
from pathlib import Path
from typing import Any

# numba reads this file of the working folder, too.
CONFIG_FILE = ".numba_config.yaml"
_LAYERS = ("default", "safe", "forksafe", "threadsafe", "tbb", "omp", "workqueue")
_UNREADABLE = re.compile(r"Environment variable '(\w+)' is defined but its associated value '(.*)'")


def refused_settings() -> str | None:
    """What numba cannot be used with, as in `NUMBA_NUM_THREADS=0: must be ...`; None: nothing."""
    if not any(name.startswith("NUMBA_") for name in os.environ) and not _has_config_file():
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            config: Any = importlib.import_module("numba.core.config")
            # Anew, whoever has read them before: what numba says of them is the message.
            config._env_reloader.reset()
        except Exception as broken:
            threads = os.environ.get("NUMBA_NUM_THREADS")
            if "threads" in str(broken) and threads is not None:
                return f"NUMBA_NUM_THREADS={threads}: must be 1 or more"
            return f"its settings ({CONFIG_FILE} or NUMBA_*) cannot be read: {_first_line(broken)}"
    for warning in caught:
        if found := _UNREADABLE.match(str(warning.message)):
            reason = str(warning.message).strip().splitlines()[-1]
            return f"{found[1]}={found[2]}: cannot be read ({reason})"
    if config.DISABLE_JIT:
        return f"NUMBA_DISABLE_JIT={config.DISABLE_JIT}: the kernels have to be compiled"
    if config.NUMBA_NUM_THREADS < 1:  # of which numba itself complains in its import alone
        return f"NUMBA_NUM_THREADS={config.NUMBA_NUM_THREADS}: must be 1 or more"
    layer = config.THREADING_LAYER
    if layer not in _LAYERS:
        return f"NUMBA_THREADING_LAYER={layer}: must be one of {', '.join(_LAYERS)}"
    return None


def _has_config_file() -> bool:
    return Path(CONFIG_FILE).is_file()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
