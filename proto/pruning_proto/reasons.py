"""Why calls fail: one word per reason, as in `google.rpc.ErrorInfo.reason`, and the status that it comes with.

Programs decide by these words, never by the text of an error. `docs/errors.md` says what to do about each. The table is
total: a test checks that every reason has its row, here and in the docs.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

DOMAIN: Final = "pruning.v1"
"""`google.rpc.ErrorInfo.domain` of every error of this service."""


class StatusCode(IntEnum):
    """The statuses of gRPC, by the names and numbers that gRPC has for them; `grpc` itself is not needed for these."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Family(Enum):
    """The exception that a client raises for a reason: `pruning_client.errors` has one class for each."""

    RECIPE = "the request is invalid"
    CHECKPOINT = "the bytes are not a valid checkpoint"
    MISMATCH = "recipe and checkpoint do not fit together"
    CAPACITY = "too large, or no capacity right now"
    PROTOCOL = "the stream broke the order of the contract"
    UNAVAILABLE = "not now"
    AUTHENTICATION = "the caller is not authenticated"
    STORAGE = "a store does not hold, give or take what it should"
    JOB = "a job cannot be begun, found or finished"
    INTERNAL = "the server's own fault"


class Reason(StrEnum):
    """Why a call failed."""

    # The stream's order.
    OPTIONS_FIRST = "OPTIONS_FIRST"
    UNEXPECTED_MESSAGE = "UNEXPECTED_MESSAGE"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    EMPTY_DATA = "EMPTY_DATA"
    TRUNCATED = "TRUNCATED"
    OVERLONG = "OVERLONG"
    CLIENT_NOT_READING = "CLIENT_NOT_READING"
    CLIENT_IDLE = "CLIENT_IDLE"
    CLIENT_TOO_SLOW = "CLIENT_TOO_SLOW"

    # The request by itself.
    UNSUPPORTED_FIELD = "UNSUPPORTED_FIELD"
    INVALID_RECIPE = "INVALID_RECIPE"
    INVALID_PATTERN = "INVALID_PATTERN"
    INVALID_NORM = "INVALID_NORM"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    UNKNOWN_MAP = "UNKNOWN_MAP"

    # The file by itself.
    HEADER_TOO_LARGE = "HEADER_TOO_LARGE"
    TOO_MANY_TENSORS = "TOO_MANY_TENSORS"
    INVALID_HEADER = "INVALID_HEADER"
    DUPLICATE_NAME = "DUPLICATE_NAME"
    UNKNOWN_DTYPE = "UNKNOWN_DTYPE"
    INVALID_OFFSETS = "INVALID_OFFSETS"
    SIZE_MISMATCH = "SIZE_MISMATCH"
    TOTAL_BYTES_MISMATCH = "TOTAL_BYTES_MISMATCH"
    INVALID_HISTORY = "INVALID_HISTORY"
    PACKED_INPUT = "PACKED_INPUT"
    INVALID_PACKED = "INVALID_PACKED"
    NAN_WEIGHTS = "NAN_WEIGHTS"
    NAN_SCORES = "NAN_SCORES"
    MASK_NOT_BINARY = "MASK_NOT_BINARY"
    INVALID_AUXILIARY = "INVALID_AUXILIARY"

    # The two together.
    SELECTS_NOTHING = "SELECTS_NOTHING"
    UNPRUNABLE_DTYPE = "UNPRUNABLE_DTYPE"
    DIM_OUT_OF_RANGE = "DIM_OUT_OF_RANGE"
    INPUT_DIM_UNKNOWN = "INPUT_DIM_UNKNOWN"
    NORM_NOT_DEFINED = "NORM_NOT_DEFINED"
    COUNT_TOO_LARGE = "COUNT_TOO_LARGE"
    SHAPE_MISMATCH = "SHAPE_MISMATCH"
    ORPHAN_COMPANION = "ORPHAN_COMPANION"
    UNUSED_COMPANION = "UNUSED_COMPANION"
    MISSING_COMPANION = "MISSING_COMPANION"
    AMBIGUOUS_PRIOR = "AMBIGUOUS_PRIOR"
    INVALID_ALIAS = "INVALID_ALIAS"
    NAME_COLLISION = "NAME_COLLISION"
    TIE_MISSING = "TIE_MISSING"
    TIE_MISFIT = "TIE_MISFIT"
    UNIT_IN_TWO_GROUPS = "UNIT_IN_TWO_GROUPS"
    UNIT_MISFIT = "UNIT_MISFIT"

    # The server.
    MODEL_TOO_LARGE = "MODEL_TOO_LARGE"
    NO_ROOM = "NO_ROOM"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    INTERNAL = "INTERNAL"

    # Stores.
    STORE_NOT_ALLOWED = "STORE_NOT_ALLOWED"
    STORE_ACCESS_DENIED = "STORE_ACCESS_DENIED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    TARGET_EXISTS = "TARGET_EXISTS"

    # Jobs.
    INVALID_JOB = "INVALID_JOB"
    JOBS_NOT_AVAILABLE = "JOBS_NOT_AVAILABLE"
    EXECUTOR_UNAVAILABLE = "EXECUTOR_UNAVAILABLE"
    JOB_EXISTS = "JOB_EXISTS"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    JOB_NOT_DONE = "JOB_NOT_DONE"
    JOB_CANCELLED = "JOB_CANCELLED"
    JOB_TIMEOUT = "JOB_TIMEOUT"
    JOB_ATTEMPTS_EXHAUSTED = "JOB_ATTEMPTS_EXHAUSTED"


@dataclass(frozen=True, slots=True)
class Row:
    """What a reason comes with: the call's status and the client's exception."""

    code: StatusCode
    family: Family


_INVALID = StatusCode.INVALID_ARGUMENT
_PROTOCOL = Row(_INVALID, Family.PROTOCOL)
_RECIPE = Row(_INVALID, Family.RECIPE)
_CHECKPOINT = Row(_INVALID, Family.CHECKPOINT)
_MISMATCH = Row(_INVALID, Family.MISMATCH)

TABLE: Final = MappingProxyType(
    {
        Reason.OPTIONS_FIRST: _PROTOCOL,
        Reason.UNEXPECTED_MESSAGE: _PROTOCOL,
        Reason.MALFORMED_MESSAGE: _PROTOCOL,
        Reason.EMPTY_DATA: _PROTOCOL,
        Reason.TRUNCATED: _CHECKPOINT,
        Reason.OVERLONG: _CHECKPOINT,
        Reason.CLIENT_NOT_READING: Row(StatusCode.ABORTED, Family.PROTOCOL),
        Reason.CLIENT_IDLE: Row(StatusCode.ABORTED, Family.PROTOCOL),
        Reason.CLIENT_TOO_SLOW: Row(StatusCode.ABORTED, Family.PROTOCOL),
        Reason.UNSUPPORTED_FIELD: _RECIPE,
        Reason.INVALID_RECIPE: _RECIPE,
        Reason.INVALID_PATTERN: _RECIPE,
        Reason.INVALID_NORM: _RECIPE,
        Reason.AMOUNT_OUT_OF_RANGE: _RECIPE,
        Reason.UNKNOWN_MAP: _RECIPE,
        Reason.HEADER_TOO_LARGE: _CHECKPOINT,
        Reason.TOO_MANY_TENSORS: _CHECKPOINT,
        Reason.INVALID_HEADER: _CHECKPOINT,
        Reason.DUPLICATE_NAME: _CHECKPOINT,
        Reason.UNKNOWN_DTYPE: _CHECKPOINT,
        Reason.INVALID_OFFSETS: _CHECKPOINT,
        Reason.SIZE_MISMATCH: _CHECKPOINT,
        Reason.TOTAL_BYTES_MISMATCH: _CHECKPOINT,
        Reason.INVALID_HISTORY: _CHECKPOINT,
        Reason.PACKED_INPUT: _CHECKPOINT,
        Reason.INVALID_PACKED: _CHECKPOINT,
        Reason.NAN_WEIGHTS: _CHECKPOINT,
        Reason.NAN_SCORES: _CHECKPOINT,
        Reason.MASK_NOT_BINARY: _CHECKPOINT,
        Reason.INVALID_AUXILIARY: _CHECKPOINT,
        Reason.SELECTS_NOTHING: _MISMATCH,
        Reason.UNPRUNABLE_DTYPE: _MISMATCH,
        Reason.DIM_OUT_OF_RANGE: _MISMATCH,
        Reason.INPUT_DIM_UNKNOWN: _MISMATCH,
        Reason.NORM_NOT_DEFINED: _MISMATCH,
        Reason.COUNT_TOO_LARGE: _MISMATCH,
        Reason.SHAPE_MISMATCH: _MISMATCH,
        Reason.ORPHAN_COMPANION: _MISMATCH,
        Reason.UNUSED_COMPANION: _MISMATCH,
        Reason.MISSING_COMPANION: _MISMATCH,
        Reason.AMBIGUOUS_PRIOR: _MISMATCH,
        Reason.INVALID_ALIAS: _MISMATCH,
        Reason.NAME_COLLISION: _MISMATCH,
        Reason.TIE_MISSING: _MISMATCH,
        Reason.TIE_MISFIT: _MISMATCH,
        Reason.UNIT_IN_TWO_GROUPS: _MISMATCH,
        Reason.UNIT_MISFIT: _MISMATCH,
        Reason.MODEL_TOO_LARGE: Row(StatusCode.RESOURCE_EXHAUSTED, Family.CAPACITY),
        Reason.NO_ROOM: Row(StatusCode.RESOURCE_EXHAUSTED, Family.CAPACITY),
        Reason.TOO_MANY_CALLS: Row(StatusCode.RESOURCE_EXHAUSTED, Family.CAPACITY),
        Reason.SHUTTING_DOWN: Row(StatusCode.UNAVAILABLE, Family.UNAVAILABLE),
        Reason.UNAUTHENTICATED: Row(StatusCode.UNAUTHENTICATED, Family.AUTHENTICATION),
        Reason.INTERNAL: Row(StatusCode.INTERNAL, Family.INTERNAL),
        Reason.STORE_NOT_ALLOWED: Row(StatusCode.PERMISSION_DENIED, Family.STORAGE),
        Reason.STORE_ACCESS_DENIED: Row(StatusCode.PERMISSION_DENIED, Family.STORAGE),
        Reason.STORE_UNAVAILABLE: Row(StatusCode.UNAVAILABLE, Family.STORAGE),
        Reason.SOURCE_NOT_FOUND: Row(StatusCode.NOT_FOUND, Family.STORAGE),
        Reason.SOURCE_CHANGED: Row(StatusCode.ABORTED, Family.STORAGE),
        Reason.TARGET_EXISTS: Row(StatusCode.ALREADY_EXISTS, Family.STORAGE),
        Reason.INVALID_JOB: _RECIPE,
        Reason.JOBS_NOT_AVAILABLE: Row(StatusCode.FAILED_PRECONDITION, Family.JOB),
        Reason.EXECUTOR_UNAVAILABLE: Row(StatusCode.UNAVAILABLE, Family.UNAVAILABLE),
        Reason.JOB_EXISTS: Row(StatusCode.ALREADY_EXISTS, Family.JOB),
        Reason.JOB_NOT_FOUND: Row(StatusCode.NOT_FOUND, Family.JOB),
        Reason.JOB_NOT_DONE: Row(StatusCode.FAILED_PRECONDITION, Family.JOB),
        Reason.JOB_CANCELLED: Row(StatusCode.CANCELLED, Family.JOB),
        Reason.JOB_TIMEOUT: Row(StatusCode.DEADLINE_EXCEEDED, Family.JOB),
        Reason.JOB_ATTEMPTS_EXHAUSTED: Row(StatusCode.ABORTED, Family.JOB),
    }
)
"""Every reason, its status and its family."""
