"""A process of hostile callers: `python -m tests.campaigns.endurance.hostile_mix ADDRESS CALLERS SEED`.

They do their worst, all kinds mixed, until standard input closes. Address: of a server on the loopback interface.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.campaigns.mixed_callers import all_kinds, misbehave, peaceful_ground


def main(address: str, callers: int, seed: int) -> None:
    """Misbehave."""
    over, ground = threading.Event(), peaceful_ground(address, seed)
    kinds = all_kinds([address])
    sys.stdout.write("misbehaving\n")
    sys.stdout.flush()
    with ThreadPoolExecutor(callers) as pool:
        for number in range(callers):
            pool.submit(misbehave, over, kinds, ground, seed + number)
        sys.stdin.read()
        over.set()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
