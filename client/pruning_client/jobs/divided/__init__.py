"""Jobs whose plan is divided: each file of the result is a part, which any process can do, and which is done once.

`DividedConnection` goes through the phases of `pruning_service.parts`; a `PartTask` is one part of one phase, for an
executor; `PartRecords` keeps what finished parts have found, so that a job that is begun again goes on.
"""
