"""Have a server prune a model from an object store into an object store. No byte of it passes through this program.

    pip install pruning-service                            (the server: 'pruning-service[local,stores]')
    prune serve --stores s3://models,s3://results          (with AWS_... in its environment)
    python examples/job_on_s3.py localhost:50051 s3://models/m s3://results/m

The job goes on if this program ends; run it again with the same name, and it waits for the same job, or prints its
report if it is done. `prune jobs delete NAME` frees the name; the result stays.
"""

import argparse
import sys

from pruning_client import Client, JobStatus, Recipe, rules
from pruning_client.errors import PruningError


def show(status: JobStatus) -> None:
    """Print how far a job is."""
    print(f"{status.state}: {status.step or '-'}, {status.read_bytes:,} bytes read, {status.written_bytes:,} written")


def main() -> int:
    """Begin a job, wait for it, and print its report."""
    parser = argparse.ArgumentParser(description="Have a server prune a model from a store into a store.")
    parser.add_argument("server")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--name", default="example-half", help="of the job; the same one is the same job")
    options = parser.parse_args()
    recipe = Recipe([rules.l1_unstructured(0.5, scope="global")], seed=0)
    try:
        with Client(options.server) as client:
            if client.capabilities().jobs is None:
                print("this server has no stores: start it with --stores", file=sys.stderr)
                return 1
            job = client.prune_checkpoint(
                options.source, options.target, recipe, name=options.name, labels={"example": "job_on_s3"}
            )
            print(job)
            report = job.wait(show)
    except (PruningError, ValueError) as error:  # ValueError: an address that is none
        print(f"there is no result: {error}", file=sys.stderr)
        return 1
    print(job)
    print(report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
