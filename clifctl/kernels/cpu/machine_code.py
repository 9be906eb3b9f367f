"""numba's machine code, kept in the kernel cache.

numba's own cache runs what it finds beside a source, unchecked, stops at a damaged file or a full
disk, and writes into the folder of an installed package. This one keeps one file for a function,
its types and a processor, and compiles whatever does not come back whole.
"""

import hashlib
import itertools
import pickle
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba
from numba.core import bytecode, compiler, serialize
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from clifctl.kernels import cache
from clifctl.kernels.compiling import compiling

# numba numbers what it compiles, and names machine code by it. Code that several processes have
# compiled meets in one: if each counted from 1, two functions of one definition (made with other
# values of what encloses them) could share a name, and one would run in the place of the other.
bytecode.FunctionIdentity._unique_ids = itertools.count(secrets.randbits(48))
NAMES = "unique"


def keep(module: ModuleType, text: str) -> ModuleType:
    """`module`, made of the source `text`; the machine code of its functions is kept on disk."""
    for name, function in vars(module).items():
        # `njit(cache=True)` sets this attribute to numba's own cache.
        if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
            vars(function)["_cache"] = _MachineCode(module.__name__, name, text)
    return module


def sources(*modules: ModuleType) -> str:
    """The texts of modules written by hand, for `keep`: of one, and of all that it inlines."""
    return "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in modules)


class _MachineCode(NullCache):
    """What numba's dispatcher asks for machine code: it holds the global lock of its compiler."""

    def __init__(self, module: str, function: str, text: str) -> None:
        self._name = f"{module.rpartition('.')[2]}.{function}"
        what = function.replace("_", " ").strip()
        self._title = f"{cache.title_of(module.rpartition('.')[2])}, {what}"
        source = hashlib.sha256(text.encode()).hexdigest()
        versions = (numba.__version__, llvmlite.__version__, sys.implementation.cache_tag, NAMES)
        self._fixed = (module, function, source, *versions)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, None where it has to be compiled."""
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        code = cache.load(self._file(key))
        found = None
        # Of whatever else made it: it is compiled, and replaces this.
        with suppress(Exception):
            kept, reduced = pickle.loads(code or b"")
            if kept == key:
                found = compiler.CompileResult._rebuild(target_context, *reduced)
        if found is None:
            compiling.begins(key)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, unless it holds addresses of this process."""
        key = self._key(sig, data.library.codegen)
        compiling.ends(key, self._title)
        if data.library.has_dynamic_globals or any(not part.can_cache for part in data.lifted):
            return
        cache.store(self._file(key), serialize.dumps((key, data._reduce())))

    def _key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*self._fixed, str(sig), tuple(codegen.magic_tuple()))

    def _file(self, key: tuple[Any, ...]) -> str:
        return f"{self._name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:20]}{cache.CODE}"
