"""`python -m pruning_client`: the command line, where `prune` is not on the path."""

import sys

from pruning_client.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
