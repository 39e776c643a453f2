"""The process that fuzzes: `python -m tests.fuzzing.fuzzer TARGET LIBFUZZER-OPTIONS...`, with atheris installed.

Python code is instrumented when it is imported, so that the target's module is imported last.
"""

import sys
from importlib import import_module
from typing import Any

from tests.fuzzing.targets import TARGETS

INSTRUMENTED = ["pruning_proto.", "pruning_client", "pruning_engine", "pruning_service"]
GENERATED = ["pruning_proto.v1"]


def main() -> None:
    """Fuzz until libFuzzer's options say stop, or something is found."""
    target = TARGETS[sys.argv[1]]
    atheris: Any = import_module("atheris")
    if target.is_native:
        from tests.fuzzing import sanitized  # noqa: PLC0415 - imports the engine

        sanitized.use_if_asked()
        check = target.check
    else:
        with atheris.instrument_imports(include=INSTRUMENTED, exclude=GENERATED):
            check = target.check
    atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
