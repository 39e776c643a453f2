"""A divided job whose parts are tasks of Ray: `python -m ... PLACE ADDRESS` prunes PLACE/model into PLACE/result.

It prints the report as JSON.
"""

import json
import os
import sys

from pruning_client import Recipe, rules
from pruning_client.huggingface.folder import FolderOptions
from pruning_client.jobs.divided.client import DividedClient
from pruning_client.jobs.divided.connection import DividedRun
from pruning_client.jobs.divided.part_records import StoredRecords
from pruning_client.jobs.executors import open_executor
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_service.local import settings_from
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri


def main(place: str, address: str) -> None:
    """Prune half of all weights, ranked together."""
    uri = StoreUri.parse(place)
    recipe = Recipe([rules.l1_unstructured(0.5, scope="global")])
    with Stores(StoreSettings.of_environment(os.environ)) as stores, open_executor("ray", address) as executor:
        records = StoredRecords(stores.open(uri.child("records")))
        run = DividedRun(
            label="job", stores=stores, records=records, executor=executor, settings=settings_from(os.environ)
        )
        with DividedClient(run) as client:
            options = FolderOptions(recipe=recipe, output="pruned")
            target = StoredRun(source=uri.child("model"), target=uri.child("result"), options=options)
            report = prune_stored(client, stores, target)
    print(json.dumps(report.to_dict()))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
