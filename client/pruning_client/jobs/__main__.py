"""`python -P -m pruning_client.jobs PLACE NAME OWNER`: the process in which a server has one job carried out."""

import sys

from pruning_client.jobs.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
