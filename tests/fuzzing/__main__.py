"""Fuzz parsers and kernels: `python -m tests.fuzzing TARGET --minutes N`, or `all` for one after the other.

It needs atheris, which is installed on demand, and for the compiled kernels clang. It ends with status 1 if something
was found, and 2 if a target could not be fuzzed. The input that was found is in `.cache/fuzzing/TARGET/findings`, and
`--input FILE` repeats it.
"""

import argparse
import sys
from pathlib import Path

from tests.fuzzing.campaign import Outcome, fuzzed
from tests.fuzzing.targets import TARGETS


def main() -> int:
    """Run the command. Return its status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--minutes", type=float, default=10, help="for each target; 10")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="check this one input, without atheris")
    options = parser.parse_args()
    targets = list(TARGETS.values()) if options.target == "all" else [TARGETS[options.target]]
    if options.input:
        for target in targets:
            target.check(options.input.read_bytes())
        return 0
    outcomes: list[Outcome] = []
    for target in targets:
        try:
            outcomes.append(fuzzed(target, options.minutes, options.seed))
        except RuntimeError as error:
            print(f"{target.name}: not fuzzed: {error}", flush=True)  # noqa: T201 - a command
            continue
        print(outcomes[-1], flush=True)  # noqa: T201 - a command
        for finding in outcomes[-1].findings:
            print(f"  {finding}", flush=True)  # noqa: T201
    findings = sum(len(outcome.findings) for outcome in outcomes)
    if len(targets) > 1:
        executions = sum(outcome.executions for outcome in outcomes)
        print(f"all: {executions:,} executions of {len(outcomes)} targets, {findings} findings")  # noqa: T201
    return 1 if findings else 2 if len(outcomes) < len(targets) else 0


if __name__ == "__main__":
    sys.exit(main())
