"""Jobs in a place of a store, for tests of what is made of them."""

import secrets
from dataclasses import dataclass

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.leases import Claim, draw_owner, now
from pruning_service.jobs.records import JobRecord
from pruning_service.jobs.state import JobState, create_job
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri

VALID_SECONDS = 60.0

HALF = pb.PruneOptions(
    recipe=pb.Recipe(rules=[pb.Rule(score=pb.Score(magnitude=pb.Magnitude()), amount=pb.Amount(fraction=0.5))])
)


@dataclass(frozen=True)
class Place:
    """A place, and what opens it."""

    stores: Stores
    uri: StoreUri

    def created(self, name: str = "nightly", target: str = "out") -> JobState:
        """Create a job, or return the one of its name."""
        asked = request(self.uri, name, target)
        record = JobRecord(uid=secrets.token_hex(16), caller="ci", created=now().ToJsonString(), request=asked)
        return create_job(self.stores.open(self.uri), record)

    def put(self, *names: str) -> None:
        """Write objects."""
        for name in names:
            self.stores.open(self.uri).put(name, b"x")

    def names(self) -> set[str]:
        """Return what there is, the state of jobs left out."""
        return {each.key for each in self.stores.open(self.uri).list() if not each.key.startswith("_pruning/")}


def request(place: StoreUri, name: str = "nightly", target: str = "out") -> pb.PruneCheckpointRequest:
    return pb.PruneCheckpointRequest(
        name=name, source=str(place.child("in")), target=str(place.child(target)), options=HALF
    )


def claim(valid_seconds: float = VALID_SECONDS) -> Claim:
    return Claim(owner=draw_owner(), worker="host:1", valid_seconds=valid_seconds)
