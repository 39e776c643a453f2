"""The short form of fuzzing: inputs that it found once, each checked as a fuzzer checks it, and some near them.

`make fuzz` looks for new ones.
"""

import random
from pathlib import Path

import pytest

from pruning_engine.kernels.compiled.library import load
from tests.fuzzing.targets import TARGETS, Target

MOST_BYTES = 4096
NEIGHBOURS = 8

PARSERS = [target for target in TARGETS.values() if not target.is_native]
KERNELS = [target for target in TARGETS.values() if target.is_native]


def inputs(target: Target) -> list[Path]:
    found = sorted(target.corpus.iterdir())
    assert found, f"{target.corpus} is empty"
    return found


@pytest.mark.parametrize("target", PARSERS, ids=lambda target: target.name)
def test_inputs_that_were_found_are_read_or_refused(target: Target) -> None:
    for path in inputs(target):
        target.check(path.read_bytes())


@pytest.mark.skipif(load() is None, reason="the compiled kernels are not installed: no C compiler")
@pytest.mark.parametrize("target", KERNELS, ids=lambda target: target.name)
def test_inputs_that_were_found_are_computed_as_in_numpy(target: Target) -> None:
    for path in inputs(target):
        target.check(path.read_bytes())


@pytest.mark.parametrize("target", PARSERS, ids=lambda target: target.name)
def test_inputs_with_a_few_bytes_changed_are_read_or_refused(target: Target) -> None:
    generator = random.Random(1)  # noqa: S311 - the same inputs every time
    for path in inputs(target):
        for _ in range(NEIGHBOURS):
            target.check(changed(path.read_bytes(), generator))


def changed(data: bytes, generator: random.Random) -> bytes:
    copy = bytearray(data or b"\0")
    for _ in range(generator.randint(1, 4)):
        copy[generator.randrange(len(copy))] = generator.choice((generator.randrange(256), *b'0,:"{}[]\n|='))
    return bytes(copy)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_inputs_are_small(target: Target) -> None:
    assert [path.name for path in inputs(target) if path.stat().st_size > MOST_BYTES] == []
