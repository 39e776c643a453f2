"""The runtimes, in an environment of their own: `make clean` removes it. They run in this Python, with its torch."""

import importlib
import sys
from types import ModuleType
from typing import Any, Final

from scripts.environments import pinned, python_with

REQUIREMENTS: Final = ("onnx==1.23.2", "onnxruntime==1.32.0", "openvino==2026.4.1", "pywhispercpp==1.5.1")
"""pywhispercpp ships ggml, whose quantization types are those of llama.cpp."""


def package(name: str) -> Any:
    """Import a package of the runtimes, and install them first if need be. Raises: as `python_with`."""
    return _module(name)


def folder() -> str:
    """Return the folder that the runtimes are in, which is on this process's path from now on."""
    home = python_with("zeros", [*REQUIREMENTS, pinned("numpy")]).parent.parent
    site = f"{home}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    if site not in sys.path:
        sys.path.append(site)  # last: what .venv has comes first
    return site


def _module(name: str) -> ModuleType:
    folder()
    return importlib.import_module(name)
