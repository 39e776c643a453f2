import datetime

from google.longrunning import operations_proto_pb2 as _operations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OutputForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_FORM_UNSPECIFIED: _ClassVar[OutputForm]
    OUTPUT_FORM_PRUNED: _ClassVar[OutputForm]
    OUTPUT_FORM_MASKED: _ClassVar[OutputForm]
    OUTPUT_FORM_MASK: _ClassVar[OutputForm]
    OUTPUT_FORM_REPORT: _ClassVar[OutputForm]
    OUTPUT_FORM_PLAN: _ClassVar[OutputForm]
    OUTPUT_FORM_PACKED: _ClassVar[OutputForm]
    OUTPUT_FORM_REMOVED: _ClassVar[OutputForm]
    OUTPUT_FORM_SCAN: _ClassVar[OutputForm]

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_UNSPECIFIED: _ClassVar[Compression]
    COMPRESSION_ZSTD: _ClassVar[Compression]

class NamedNorm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NAMED_NORM_UNSPECIFIED: _ClassVar[NamedNorm]
    NAMED_NORM_FRO: _ClassVar[NamedNorm]
    NAMED_NORM_NUC: _ClassVar[NamedNorm]

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_LOCAL: _ClassVar[Scope]
    SCOPE_GLOBAL: _ClassVar[Scope]
    SCOPE_OUTPUT_CHANNEL: _ClassVar[Scope]

class Prior(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIOR_UNSPECIFIED: _ClassVar[Prior]
    PRIOR_MASK: _ClassVar[Prior]
    PRIOR_ZEROS: _ClassVar[Prior]
    PRIOR_HISTORY: _ClassVar[Prior]

class WarningKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_KIND_UNSPECIFIED: _ClassVar[WarningKind]
    WARNING_KIND_EMPTY: _ClassVar[WarningKind]
    WARNING_KIND_NEARLY_EMPTY: _ClassVar[WarningKind]
    WARNING_KIND_HISTORY_NOT_READ: _ClassVar[WarningKind]
    WARNING_KIND_ZEROS_NOT_PRUNED: _ClassVar[WarningKind]
    WARNING_KIND_INPUT_CHANNELS: _ClassVar[WarningKind]
    WARNING_KIND_TIED_HEAD: _ClassVar[WarningKind]
    WARNING_KIND_WEIGHT_NORM: _ClassVar[WarningKind]
    WARNING_KIND_NOTHING_PRUNED: _ClassVar[WarningKind]
    WARNING_KIND_DAMPING_INCREASED: _ClassVar[WarningKind]
    WARNING_KIND_FEW_TOKENS: _ClassVar[WarningKind]
    WARNING_KIND_LEFT_DENSE: _ClassVar[WarningKind]
    WARNING_KIND_UNITS_BY_WEIGHTS: _ClassVar[WarningKind]
    WARNING_KIND_SAME_WIDTH: _ClassVar[WarningKind]
    WARNING_KIND_LEAST_KEPT: _ClassVar[WarningKind]

class NotSelected(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOT_SELECTED_UNSPECIFIED: _ClassVar[NotSelected]
    NOT_SELECTED_NAME: _ClassVar[NotSelected]
    NOT_SELECTED_DTYPE: _ClassVar[NotSelected]
    NOT_SELECTED_DIMS: _ClassVar[NotSelected]
    NOT_SELECTED_EXCLUDED: _ClassVar[NotSelected]
    NOT_SELECTED_EMBEDDING: _ClassVar[NotSelected]
    NOT_SELECTED_OUTPUT_HEAD: _ClassVar[NotSelected]
    NOT_SELECTED_ROUTER: _ClassVar[NotSelected]
    NOT_SELECTED_NORM: _ClassVar[NotSelected]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_PENDING: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
OUTPUT_FORM_UNSPECIFIED: OutputForm
OUTPUT_FORM_PRUNED: OutputForm
OUTPUT_FORM_MASKED: OutputForm
OUTPUT_FORM_MASK: OutputForm
OUTPUT_FORM_REPORT: OutputForm
OUTPUT_FORM_PLAN: OutputForm
OUTPUT_FORM_PACKED: OutputForm
OUTPUT_FORM_REMOVED: OutputForm
OUTPUT_FORM_SCAN: OutputForm
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_ZSTD: Compression
NAMED_NORM_UNSPECIFIED: NamedNorm
NAMED_NORM_FRO: NamedNorm
NAMED_NORM_NUC: NamedNorm
SCOPE_UNSPECIFIED: Scope
SCOPE_LOCAL: Scope
SCOPE_GLOBAL: Scope
SCOPE_OUTPUT_CHANNEL: Scope
PRIOR_UNSPECIFIED: Prior
PRIOR_MASK: Prior
PRIOR_ZEROS: Prior
PRIOR_HISTORY: Prior
WARNING_KIND_UNSPECIFIED: WarningKind
WARNING_KIND_EMPTY: WarningKind
WARNING_KIND_NEARLY_EMPTY: WarningKind
WARNING_KIND_HISTORY_NOT_READ: WarningKind
WARNING_KIND_ZEROS_NOT_PRUNED: WarningKind
WARNING_KIND_INPUT_CHANNELS: WarningKind
WARNING_KIND_TIED_HEAD: WarningKind
WARNING_KIND_WEIGHT_NORM: WarningKind
WARNING_KIND_NOTHING_PRUNED: WarningKind
WARNING_KIND_DAMPING_INCREASED: WarningKind
WARNING_KIND_FEW_TOKENS: WarningKind
WARNING_KIND_LEFT_DENSE: WarningKind
WARNING_KIND_UNITS_BY_WEIGHTS: WarningKind
WARNING_KIND_SAME_WIDTH: WarningKind
WARNING_KIND_LEAST_KEPT: WarningKind
NOT_SELECTED_UNSPECIFIED: NotSelected
NOT_SELECTED_NAME: NotSelected
NOT_SELECTED_DTYPE: NotSelected
NOT_SELECTED_DIMS: NotSelected
NOT_SELECTED_EXCLUDED: NotSelected
NOT_SELECTED_EMBEDDING: NotSelected
NOT_SELECTED_OUTPUT_HEAD: NotSelected
NOT_SELECTED_ROUTER: NotSelected
NOT_SELECTED_NORM: NotSelected
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_PENDING: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState

class PruneRequest(_message.Message):
    __slots__ = ("options", "whole", "data")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    options: PruneOptions
    whole: WholeRequest
    data: bytes
    def __init__(self, options: _Optional[_Union[PruneOptions, _Mapping]] = ..., whole: _Optional[_Union[WholeRequest, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class WholeRequest(_message.Message):
    __slots__ = ("options", "data")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    options: PruneOptions
    data: bytes
    def __init__(self, options: _Optional[_Union[PruneOptions, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class PruneOptions(_message.Message):
    __slots__ = ("recipe", "output", "total_bytes", "aliases", "digests", "canonical_zero", "model_type", "input_dims", "auxiliary_aliases", "skip_unused_auxiliary", "scan_sparsities", "leaves_out_skipped", "compression")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class InputDimsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AuxiliaryAliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    CANONICAL_ZERO_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIMS_FIELD_NUMBER: _ClassVar[int]
    AUXILIARY_ALIASES_FIELD_NUMBER: _ClassVar[int]
    SKIP_UNUSED_AUXILIARY_FIELD_NUMBER: _ClassVar[int]
    SCAN_SPARSITIES_FIELD_NUMBER: _ClassVar[int]
    LEAVES_OUT_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    recipe: Recipe
    output: OutputForm
    total_bytes: int
    aliases: _containers.ScalarMap[str, str]
    digests: bool
    canonical_zero: bool
    model_type: str
    input_dims: _containers.ScalarMap[str, int]
    auxiliary_aliases: _containers.ScalarMap[str, str]
    skip_unused_auxiliary: bool
    scan_sparsities: _containers.RepeatedScalarFieldContainer[float]
    leaves_out_skipped: bool
    compression: Compression
    def __init__(self, recipe: _Optional[_Union[Recipe, _Mapping]] = ..., output: _Optional[_Union[OutputForm, str]] = ..., total_bytes: _Optional[int] = ..., aliases: _Optional[_Mapping[str, str]] = ..., digests: bool = ..., canonical_zero: bool = ..., model_type: _Optional[str] = ..., input_dims: _Optional[_Mapping[str, int]] = ..., auxiliary_aliases: _Optional[_Mapping[str, str]] = ..., skip_unused_auxiliary: bool = ..., scan_sparsities: _Optional[_Iterable[float]] = ..., leaves_out_skipped: bool = ..., compression: _Optional[_Union[Compression, str]] = ...) -> None: ...

class Recipe(_message.Message):
    __slots__ = ("rules", "seed")
    RULES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    seed: int
    def __init__(self, rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., seed: _Optional[int] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("select", "score", "granularity", "scope", "amount", "prior", "allocation", "bounds", "input_dim", "swaps", "update")
    SELECT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIM_FIELD_NUMBER: _ClassVar[int]
    SWAPS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    select: Selector
    score: Score
    granularity: Granularity
    scope: Scope
    amount: Amount
    prior: Prior
    allocation: Allocation
    bounds: Bounds
    input_dim: int
    swaps: Swaps
    update: Update
    def __init__(self, select: _Optional[_Union[Selector, _Mapping]] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., granularity: _Optional[_Union[Granularity, _Mapping]] = ..., scope: _Optional[_Union[Scope, str]] = ..., amount: _Optional[_Union[Amount, _Mapping]] = ..., prior: _Optional[_Union[Prior, str]] = ..., allocation: _Optional[_Union[Allocation, _Mapping]] = ..., bounds: _Optional[_Union[Bounds, _Mapping]] = ..., input_dim: _Optional[int] = ..., swaps: _Optional[_Union[Swaps, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("erk", "owl", "least_predicted_error")
    ERK_FIELD_NUMBER: _ClassVar[int]
    OWL_FIELD_NUMBER: _ClassVar[int]
    LEAST_PREDICTED_ERROR_FIELD_NUMBER: _ClassVar[int]
    erk: ErdosRenyiKernel
    owl: Owl
    least_predicted_error: LeastPredictedError
    def __init__(self, erk: _Optional[_Union[ErdosRenyiKernel, _Mapping]] = ..., owl: _Optional[_Union[Owl, _Mapping]] = ..., least_predicted_error: _Optional[_Union[LeastPredictedError, _Mapping]] = ...) -> None: ...

class ErdosRenyiKernel(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Owl(_message.Message):
    __slots__ = ("outlier_factor", "max_difference")
    OUTLIER_FACTOR_FIELD_NUMBER: _ClassVar[int]
    MAX_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    outlier_factor: float
    max_difference: float
    def __init__(self, outlier_factor: _Optional[float] = ..., max_difference: _Optional[float] = ...) -> None: ...

class LeastPredictedError(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Bounds(_message.Message):
    __slots__ = ("min_sparsity", "max_sparsity")
    MIN_SPARSITY_FIELD_NUMBER: _ClassVar[int]
    MAX_SPARSITY_FIELD_NUMBER: _ClassVar[int]
    min_sparsity: float
    max_sparsity: float
    def __init__(self, min_sparsity: _Optional[float] = ..., max_sparsity: _Optional[float] = ...) -> None: ...

class Swaps(_message.Message):
    __slots__ = ("steps", "candidates")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    candidates: int
    def __init__(self, steps: _Optional[int] = ..., candidates: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("bias_compensation", "refit", "sparsegpt")
    BIAS_COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    REFIT_FIELD_NUMBER: _ClassVar[int]
    SPARSEGPT_FIELD_NUMBER: _ClassVar[int]
    bias_compensation: BiasCompensation
    refit: Refit
    sparsegpt: SparseGpt
    def __init__(self, bias_compensation: _Optional[_Union[BiasCompensation, _Mapping]] = ..., refit: _Optional[_Union[Refit, _Mapping]] = ..., sparsegpt: _Optional[_Union[SparseGpt, _Mapping]] = ...) -> None: ...

class BiasCompensation(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Refit(_message.Message):
    __slots__ = ("steps", "damping")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DAMPING_FIELD_NUMBER: _ClassVar[int]
    steps: int
    damping: float
    def __init__(self, steps: _Optional[int] = ..., damping: _Optional[float] = ...) -> None: ...

class SparseGpt(_message.Message):
    __slots__ = ("block", "damping")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    DAMPING_FIELD_NUMBER: _ClassVar[int]
    block: int
    damping: float
    def __init__(self, block: _Optional[int] = ..., damping: _Optional[float] = ...) -> None: ...

class Selector(_message.Message):
    __slots__ = ("include", "exclude")
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    include: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, include: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[str]] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("magnitude", "random", "importance_scores", "custom_mask", "identity", "method", "dead", "weighted_magnitude", "ria", "lamp", "obs", "flap", "unit_scores", "activation_norm", "router_magnitude", "listed", "glu_peak_to_peak", "alps")
    MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_SCORES_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_MASK_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    RIA_FIELD_NUMBER: _ClassVar[int]
    LAMP_FIELD_NUMBER: _ClassVar[int]
    OBS_FIELD_NUMBER: _ClassVar[int]
    FLAP_FIELD_NUMBER: _ClassVar[int]
    UNIT_SCORES_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_NORM_FIELD_NUMBER: _ClassVar[int]
    ROUTER_MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    GLU_PEAK_TO_PEAK_FIELD_NUMBER: _ClassVar[int]
    ALPS_FIELD_NUMBER: _ClassVar[int]
    magnitude: Magnitude
    random: RandomScore
    importance_scores: ImportanceScores
    custom_mask: CustomMask
    identity: Identity
    method: CustomMethod
    dead: Dead
    weighted_magnitude: WeightedMagnitude
    ria: RelativeImportance
    lamp: Lamp
    obs: ObsScore
    flap: Flap
    unit_scores: UnitScores
    activation_norm: ActivationNorm
    router_magnitude: RouterMagnitude
    listed: ListedUnits
    glu_peak_to_peak: GluPeakToPeak
    alps: Alps
    def __init__(self, magnitude: _Optional[_Union[Magnitude, _Mapping]] = ..., random: _Optional[_Union[RandomScore, _Mapping]] = ..., importance_scores: _Optional[_Union[ImportanceScores, _Mapping]] = ..., custom_mask: _Optional[_Union[CustomMask, _Mapping]] = ..., identity: _Optional[_Union[Identity, _Mapping]] = ..., method: _Optional[_Union[CustomMethod, _Mapping]] = ..., dead: _Optional[_Union[Dead, _Mapping]] = ..., weighted_magnitude: _Optional[_Union[WeightedMagnitude, _Mapping]] = ..., ria: _Optional[_Union[RelativeImportance, _Mapping]] = ..., lamp: _Optional[_Union[Lamp, _Mapping]] = ..., obs: _Optional[_Union[ObsScore, _Mapping]] = ..., flap: _Optional[_Union[Flap, _Mapping]] = ..., unit_scores: _Optional[_Union[UnitScores, _Mapping]] = ..., activation_norm: _Optional[_Union[ActivationNorm, _Mapping]] = ..., router_magnitude: _Optional[_Union[RouterMagnitude, _Mapping]] = ..., listed: _Optional[_Union[ListedUnits, _Mapping]] = ..., glu_peak_to_peak: _Optional[_Union[GluPeakToPeak, _Mapping]] = ..., alps: _Optional[_Union[Alps, _Mapping]] = ...) -> None: ...

class Magnitude(_message.Message):
    __slots__ = ("norm",)
    NORM_FIELD_NUMBER: _ClassVar[int]
    norm: Norm
    def __init__(self, norm: _Optional[_Union[Norm, _Mapping]] = ...) -> None: ...

class Norm(_message.Message):
    __slots__ = ("p", "named")
    P_FIELD_NUMBER: _ClassVar[int]
    NAMED_FIELD_NUMBER: _ClassVar[int]
    p: float
    named: NamedNorm
    def __init__(self, p: _Optional[float] = ..., named: _Optional[_Union[NamedNorm, str]] = ...) -> None: ...

class RandomScore(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImportanceScores(_message.Message):
    __slots__ = ("norm", "fall_back_to_weights")
    NORM_FIELD_NUMBER: _ClassVar[int]
    FALL_BACK_TO_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    norm: Norm
    fall_back_to_weights: bool
    def __init__(self, norm: _Optional[_Union[Norm, _Mapping]] = ..., fall_back_to_weights: bool = ...) -> None: ...

class CustomMask(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Identity(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Dead(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WeightedMagnitude(_message.Message):
    __slots__ = ("dim",)
    DIM_FIELD_NUMBER: _ClassVar[int]
    dim: int
    def __init__(self, dim: _Optional[int] = ...) -> None: ...

class RelativeImportance(_message.Message):
    __slots__ = ("exponent",)
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    exponent: float
    def __init__(self, exponent: _Optional[float] = ...) -> None: ...

class Lamp(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ObsScore(_message.Message):
    __slots__ = ("block", "damping", "greedy")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    DAMPING_FIELD_NUMBER: _ClassVar[int]
    GREEDY_FIELD_NUMBER: _ClassVar[int]
    block: int
    damping: float
    greedy: bool
    def __init__(self, block: _Optional[int] = ..., damping: _Optional[float] = ..., greedy: bool = ...) -> None: ...

class Alps(_message.Message):
    __slots__ = ("steps", "damping")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DAMPING_FIELD_NUMBER: _ClassVar[int]
    steps: int
    damping: float
    def __init__(self, steps: _Optional[int] = ..., damping: _Optional[float] = ...) -> None: ...

class Flap(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnitScores(_message.Message):
    __slots__ = ("groups",)
    class GroupsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UnitValues
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UnitValues, _Mapping]] = ...) -> None: ...
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.MessageMap[str, UnitValues]
    def __init__(self, groups: _Optional[_Mapping[str, UnitValues]] = ...) -> None: ...

class UnitValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class RouterMagnitude(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListedUnits(_message.Message):
    __slots__ = ("every_group", "groups")
    class GroupsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UnitList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UnitList, _Mapping]] = ...) -> None: ...
    EVERY_GROUP_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    every_group: UnitList
    groups: _containers.MessageMap[str, UnitList]
    def __init__(self, every_group: _Optional[_Union[UnitList, _Mapping]] = ..., groups: _Optional[_Mapping[str, UnitList]] = ...) -> None: ...

class UnitList(_message.Message):
    __slots__ = ("kept", "pruned", "kept_bits")
    KEPT_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    KEPT_BITS_FIELD_NUMBER: _ClassVar[int]
    kept: _containers.RepeatedScalarFieldContainer[int]
    pruned: _containers.RepeatedScalarFieldContainer[int]
    kept_bits: bytes
    def __init__(self, kept: _Optional[_Iterable[int]] = ..., pruned: _Optional[_Iterable[int]] = ..., kept_bits: _Optional[bytes] = ...) -> None: ...

class GluPeakToPeak(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ActivationNorm(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CustomMethod(_message.Message):
    __slots__ = ("name", "arguments")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Argument
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Argument, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    arguments: _containers.MessageMap[str, Argument]
    def __init__(self, name: _Optional[str] = ..., arguments: _Optional[_Mapping[str, Argument]] = ...) -> None: ...

class Argument(_message.Message):
    __slots__ = ("integer", "number", "text", "flag")
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    integer: int
    number: float
    text: str
    flag: bool
    def __init__(self, integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., flag: bool = ...) -> None: ...

class Granularity(_message.Message):
    __slots__ = ("entries", "channels", "units", "n_of_m", "blocks")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    N_OF_M_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    entries: Entries
    channels: Channels
    units: Units
    n_of_m: NOfM
    blocks: Blocks
    def __init__(self, entries: _Optional[_Union[Entries, _Mapping]] = ..., channels: _Optional[_Union[Channels, _Mapping]] = ..., units: _Optional[_Union[Units, _Mapping]] = ..., n_of_m: _Optional[_Union[NOfM, _Mapping]] = ..., blocks: _Optional[_Union[Blocks, _Mapping]] = ...) -> None: ...

class Entries(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Channels(_message.Message):
    __slots__ = ("dim",)
    DIM_FIELD_NUMBER: _ClassVar[int]
    dim: int
    def __init__(self, dim: _Optional[int] = ...) -> None: ...

class Blocks(_message.Message):
    __slots__ = ("rows", "columns")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: int
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[int] = ...) -> None: ...

class NOfM(_message.Message):
    __slots__ = ("n", "m", "dim", "allow_dense")
    N_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    ALLOW_DENSE_FIELD_NUMBER: _ClassVar[int]
    n: int
    m: int
    dim: int
    allow_dense: bool
    def __init__(self, n: _Optional[int] = ..., m: _Optional[int] = ..., dim: _Optional[int] = ..., allow_dense: bool = ...) -> None: ...

class Units(_message.Message):
    __slots__ = ("groups", "map", "head_dim", "round_to", "same_width", "least_kept", "balanced_blocks", "own_widths", "always_kept")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    HEAD_DIM_FIELD_NUMBER: _ClassVar[int]
    ROUND_TO_FIELD_NUMBER: _ClassVar[int]
    SAME_WIDTH_FIELD_NUMBER: _ClassVar[int]
    LEAST_KEPT_FIELD_NUMBER: _ClassVar[int]
    BALANCED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    OWN_WIDTHS_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_KEPT_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    map: str
    head_dim: int
    round_to: int
    same_width: bool
    least_kept: int
    balanced_blocks: int
    own_widths: bool
    always_kept: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ..., map: _Optional[str] = ..., head_dim: _Optional[int] = ..., round_to: _Optional[int] = ..., same_width: bool = ..., least_kept: _Optional[int] = ..., balanced_blocks: _Optional[int] = ..., own_widths: bool = ..., always_kept: _Optional[_Iterable[int]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("for_each", "ties", "units", "config", "keep_numbers")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FOR_EACH_FIELD_NUMBER: _ClassVar[int]
    TIES_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    KEEP_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    for_each: str
    ties: _containers.RepeatedCompositeFieldContainer[Tie]
    units: int
    config: _containers.ScalarMap[str, int]
    keep_numbers: bool
    def __init__(self, for_each: _Optional[str] = ..., ties: _Optional[_Iterable[_Union[Tie, _Mapping]]] = ..., units: _Optional[int] = ..., config: _Optional[_Mapping[str, int]] = ..., keep_numbers: bool = ...) -> None: ...

class Tie(_message.Message):
    __slots__ = ("tensor", "dim", "offset", "outer", "inner", "indices", "scored", "may_be_missing")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    OUTER_FIELD_NUMBER: _ClassVar[int]
    INNER_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    MAY_BE_MISSING_FIELD_NUMBER: _ClassVar[int]
    tensor: str
    dim: int
    offset: int
    outer: int
    inner: int
    indices: _containers.RepeatedScalarFieldContainer[int]
    scored: bool
    may_be_missing: bool
    def __init__(self, tensor: _Optional[str] = ..., dim: _Optional[int] = ..., offset: _Optional[int] = ..., outer: _Optional[int] = ..., inner: _Optional[int] = ..., indices: _Optional[_Iterable[int]] = ..., scored: bool = ..., may_be_missing: bool = ...) -> None: ...

class Amount(_message.Message):
    __slots__ = ("fraction", "count", "sparsity", "kept")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SPARSITY_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    count: int
    sparsity: float
    kept: int
    def __init__(self, fraction: _Optional[float] = ..., count: _Optional[int] = ..., sparsity: _Optional[float] = ..., kept: _Optional[int] = ...) -> None: ...

class PruneResponse(_message.Message):
    __slots__ = ("plan", "progress", "report", "failure", "whole", "data")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    progress: Progress
    report: Report
    failure: Failure
    whole: WholeResponse
    data: bytes
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., whole: _Optional[_Union[WholeResponse, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class WholeResponse(_message.Message):
    __slots__ = ("plan", "data", "report")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    data: bytes
    report: Report
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ..., data: _Optional[bytes] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("tensors", "last", "request_id", "peak_bytes", "result_bytes", "seed", "device", "warnings", "groups", "skipped", "spool_bytes")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[TensorPlan]
    last: bool
    request_id: str
    peak_bytes: int
    result_bytes: int
    seed: int
    device: str
    warnings: _containers.RepeatedCompositeFieldContainer[ModelWarning]
    groups: _containers.RepeatedCompositeFieldContainer[GroupReport]
    skipped: _containers.RepeatedCompositeFieldContainer[ByteRange]
    spool_bytes: int
    def __init__(self, tensors: _Optional[_Iterable[_Union[TensorPlan, _Mapping]]] = ..., last: bool = ..., request_id: _Optional[str] = ..., peak_bytes: _Optional[int] = ..., result_bytes: _Optional[int] = ..., seed: _Optional[int] = ..., device: _Optional[str] = ..., warnings: _Optional[_Iterable[_Union[ModelWarning, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[GroupReport, _Mapping]]] = ..., skipped: _Optional[_Iterable[_Union[ByteRange, _Mapping]]] = ..., spool_bytes: _Optional[int] = ...) -> None: ...

class ByteRange(_message.Message):
    __slots__ = ("begin", "end")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    begin: int
    end: int
    def __init__(self, begin: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class ModelWarning(_message.Message):
    __slots__ = ("kind", "tensor", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: WarningKind
    tensor: str
    message: str
    def __init__(self, kind: _Optional[_Union[WarningKind, str]] = ..., tensor: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class TensorPlan(_message.Message):
    __slots__ = ("name", "dtype", "shape", "rules", "not_selected", "was_pruned", "auxiliary", "input_dim", "removed", "result_name")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    NOT_SELECTED_FIELD_NUMBER: _ClassVar[int]
    WAS_PRUNED_FIELD_NUMBER: _ClassVar[int]
    AUXILIARY_FIELD_NUMBER: _ClassVar[int]
    INPUT_DIM_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    RESULT_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    rules: _containers.RepeatedScalarFieldContainer[int]
    not_selected: NotSelected
    was_pruned: bool
    auxiliary: _containers.RepeatedScalarFieldContainer[str]
    input_dim: int
    removed: bool
    result_name: str
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., rules: _Optional[_Iterable[int]] = ..., not_selected: _Optional[_Union[NotSelected, str]] = ..., was_pruned: bool = ..., auxiliary: _Optional[_Iterable[str]] = ..., input_dim: _Optional[int] = ..., removed: bool = ..., result_name: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("received_bytes", "sent_bytes")
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    sent_bytes: int
    def __init__(self, received_bytes: _Optional[int] = ..., sent_bytes: _Optional[int] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("tensors", "last", "request_id", "totals", "stage_seconds", "device", "seed", "version", "reproducible", "input_sha256", "result_sha256", "groups", "negative_zeros", "result_bytes", "model", "warnings")
    class StageSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPRODUCIBLE_FIELD_NUMBER: _ClassVar[int]
    INPUT_SHA256_FIELD_NUMBER: _ClassVar[int]
    RESULT_SHA256_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_ZEROS_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[TensorReport]
    last: bool
    request_id: str
    totals: Totals
    stage_seconds: _containers.ScalarMap[str, float]
    device: str
    seed: int
    version: str
    reproducible: bool
    input_sha256: str
    result_sha256: str
    groups: _containers.RepeatedCompositeFieldContainer[GroupReport]
    negative_zeros: int
    result_bytes: int
    model: ModelTotals
    warnings: _containers.RepeatedCompositeFieldContainer[ModelWarning]
    def __init__(self, tensors: _Optional[_Iterable[_Union[TensorReport, _Mapping]]] = ..., last: bool = ..., request_id: _Optional[str] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ..., stage_seconds: _Optional[_Mapping[str, float]] = ..., device: _Optional[str] = ..., seed: _Optional[int] = ..., version: _Optional[str] = ..., reproducible: bool = ..., input_sha256: _Optional[str] = ..., result_sha256: _Optional[str] = ..., groups: _Optional[_Iterable[_Union[GroupReport, _Mapping]]] = ..., negative_zeros: _Optional[int] = ..., result_bytes: _Optional[int] = ..., model: _Optional[_Union[ModelTotals, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[ModelWarning, _Mapping]]] = ...) -> None: ...

class ModelTotals(_message.Message):
    __slots__ = ("tensors", "entries", "weight_bytes", "selected_tensors", "selected_entries", "zeros_before", "zeros")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SELECTED_TENSORS_FIELD_NUMBER: _ClassVar[int]
    SELECTED_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ZEROS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    tensors: int
    entries: int
    weight_bytes: int
    selected_tensors: int
    selected_entries: int
    zeros_before: int
    zeros: int
    def __init__(self, tensors: _Optional[int] = ..., entries: _Optional[int] = ..., weight_bytes: _Optional[int] = ..., selected_tensors: _Optional[int] = ..., selected_entries: _Optional[int] = ..., zeros_before: _Optional[int] = ..., zeros: _Optional[int] = ...) -> None: ...

class GroupReport(_message.Message):
    __slots__ = ("rule", "name", "units", "kept", "tensors", "config", "map", "scored")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RULE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    rule: int
    name: str
    units: int
    kept: _containers.RepeatedScalarFieldContainer[int]
    tensors: _containers.RepeatedScalarFieldContainer[str]
    config: _containers.ScalarMap[str, int]
    map: str
    scored: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rule: _Optional[int] = ..., name: _Optional[str] = ..., units: _Optional[int] = ..., kept: _Optional[_Iterable[int]] = ..., tensors: _Optional[_Iterable[str]] = ..., config: _Optional[_Mapping[str, int]] = ..., map: _Optional[str] = ..., scored: _Optional[_Iterable[str]] = ...) -> None: ...

class TensorReport(_message.Message):
    __slots__ = ("name", "entries", "pruned_before", "pruned", "threshold", "zeros_before", "zeros", "masked_error", "predicted_error", "damping", "curve")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    PRUNED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ZEROS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    MASKED_ERROR_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_ERROR_FIELD_NUMBER: _ClassVar[int]
    DAMPING_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    entries: int
    pruned_before: int
    pruned: int
    threshold: float
    zeros_before: int
    zeros: int
    masked_error: float
    predicted_error: float
    damping: float
    curve: _containers.RepeatedCompositeFieldContainer[CurvePoint]
    def __init__(self, name: _Optional[str] = ..., entries: _Optional[int] = ..., pruned_before: _Optional[int] = ..., pruned: _Optional[int] = ..., threshold: _Optional[float] = ..., zeros_before: _Optional[int] = ..., zeros: _Optional[int] = ..., masked_error: _Optional[float] = ..., predicted_error: _Optional[float] = ..., damping: _Optional[float] = ..., curve: _Optional[_Iterable[_Union[CurvePoint, _Mapping]]] = ...) -> None: ...

class CurvePoint(_message.Message):
    __slots__ = ("rule", "sparsity", "predicted_error", "is_weak")
    RULE_FIELD_NUMBER: _ClassVar[int]
    SPARSITY_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_ERROR_FIELD_NUMBER: _ClassVar[int]
    IS_WEAK_FIELD_NUMBER: _ClassVar[int]
    rule: int
    sparsity: float
    predicted_error: float
    is_weak: bool
    def __init__(self, rule: _Optional[int] = ..., sparsity: _Optional[float] = ..., predicted_error: _Optional[float] = ..., is_weak: bool = ...) -> None: ...

class Totals(_message.Message):
    __slots__ = ("tensors", "entries", "pruned_before", "pruned")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    PRUNED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    tensors: int
    entries: int
    pruned_before: int
    pruned: int
    def __init__(self, tensors: _Optional[int] = ..., entries: _Optional[int] = ..., pruned_before: _Optional[int] = ..., pruned: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "reason", "message", "metadata", "violations", "retry_after")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    metadata: _containers.ScalarMap[str, str]
    violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    retry_after: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class PruneCheckpointRequest(_message.Message):
    __slots__ = ("name", "source", "target", "options", "statistics", "max_shard_bytes", "trim_tokenizer", "timeout", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    MAX_SHARD_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRIM_TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    target: str
    options: PruneOptions
    statistics: str
    max_shard_bytes: int
    trim_tokenizer: bool
    timeout: _duration_pb2.Duration
    labels: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., options: _Optional[_Union[PruneOptions, _Mapping]] = ..., statistics: _Optional[str] = ..., max_shard_bytes: _Optional[int] = ..., trim_tokenizer: bool = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PruneCheckpointMetadata(_message.Message):
    __slots__ = ("name", "state", "step", "read_bytes", "written_bytes", "shards_done", "shards_total", "plan", "worker", "attempt", "last_error", "create_time", "start_time", "update_time", "end_time", "source", "target", "labels", "is_cancelling", "step_seconds")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class StepSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_DONE_FIELD_NUMBER: _ClassVar[int]
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    IS_CANCELLING_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: JobState
    step: str
    read_bytes: int
    written_bytes: int
    shards_done: int
    shards_total: int
    plan: PlanSummary
    worker: str
    attempt: int
    last_error: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    source: str
    target: str
    labels: _containers.ScalarMap[str, str]
    is_cancelling: bool
    step_seconds: _containers.ScalarMap[str, float]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ..., step: _Optional[str] = ..., read_bytes: _Optional[int] = ..., written_bytes: _Optional[int] = ..., shards_done: _Optional[int] = ..., shards_total: _Optional[int] = ..., plan: _Optional[_Union[PlanSummary, _Mapping]] = ..., worker: _Optional[str] = ..., attempt: _Optional[int] = ..., last_error: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., is_cancelling: bool = ..., step_seconds: _Optional[_Mapping[str, float]] = ...) -> None: ...

class PlanSummary(_message.Message):
    __slots__ = ("tensors", "selected_tensors", "peak_bytes", "result_bytes", "seed", "device", "readings")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    SELECTED_TENSORS_FIELD_NUMBER: _ClassVar[int]
    PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    tensors: int
    selected_tensors: int
    peak_bytes: int
    result_bytes: int
    seed: int
    device: str
    readings: float
    def __init__(self, tensors: _Optional[int] = ..., selected_tensors: _Optional[int] = ..., peak_bytes: _Optional[int] = ..., result_bytes: _Optional[int] = ..., seed: _Optional[int] = ..., device: _Optional[str] = ..., readings: _Optional[float] = ...) -> None: ...

class PruneCheckpointResponse(_message.Message):
    __slots__ = ("report", "target", "is_shortened")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    IS_SHORTENED_FIELD_NUMBER: _ClassVar[int]
    report: Report
    target: str
    is_shortened: bool
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ..., target: _Optional[str] = ..., is_shortened: bool = ...) -> None: ...

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("version", "methods", "outputs", "prunable_dtypes", "devices", "limits", "versions", "maps", "kernels", "jobs", "compressions")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    PRUNABLE_DTYPES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MAPS_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    methods: _containers.RepeatedCompositeFieldContainer[Method]
    outputs: _containers.RepeatedScalarFieldContainer[OutputForm]
    prunable_dtypes: _containers.RepeatedScalarFieldContainer[str]
    devices: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    versions: _containers.ScalarMap[str, str]
    maps: _containers.RepeatedCompositeFieldContainer[Map]
    kernels: str
    jobs: JobCapabilities
    compressions: _containers.RepeatedScalarFieldContainer[Compression]
    def __init__(self, version: _Optional[str] = ..., methods: _Optional[_Iterable[_Union[Method, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[OutputForm, str]]] = ..., prunable_dtypes: _Optional[_Iterable[str]] = ..., devices: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., versions: _Optional[_Mapping[str, str]] = ..., maps: _Optional[_Iterable[_Union[Map, _Mapping]]] = ..., kernels: _Optional[str] = ..., jobs: _Optional[_Union[JobCapabilities, _Mapping]] = ..., compressions: _Optional[_Iterable[_Union[Compression, str]]] = ...) -> None: ...

class JobCapabilities(_message.Message):
    __slots__ = ("schemes", "jobs", "memory_bytes")
    SCHEMES_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    schemes: _containers.RepeatedScalarFieldContainer[str]
    jobs: int
    memory_bytes: int
    def __init__(self, schemes: _Optional[_Iterable[str]] = ..., jobs: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Map(_message.Message):
    __slots__ = ("name", "description", "parameters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[_Iterable[str]] = ...) -> None: ...

class Method(_message.Message):
    __slots__ = ("name", "description", "parameters", "installed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters: _containers.RepeatedScalarFieldContainer[str]
    installed: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[_Iterable[str]] = ..., installed: bool = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("message_bytes", "header_bytes", "memory_bytes", "chunk_bytes", "rules", "tensors", "streams_per_connection", "calls", "patterns", "regular_expressions", "pattern_bytes", "aliases", "options_bytes", "device_memory_bytes")
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEADER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_PER_CONNECTION_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    REGULAR_EXPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    PATTERN_BYTES_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    message_bytes: int
    header_bytes: int
    memory_bytes: int
    chunk_bytes: int
    rules: int
    tensors: int
    streams_per_connection: int
    calls: int
    patterns: int
    regular_expressions: int
    pattern_bytes: int
    aliases: int
    options_bytes: int
    device_memory_bytes: int
    def __init__(self, message_bytes: _Optional[int] = ..., header_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., rules: _Optional[int] = ..., tensors: _Optional[int] = ..., streams_per_connection: _Optional[int] = ..., calls: _Optional[int] = ..., patterns: _Optional[int] = ..., regular_expressions: _Optional[int] = ..., pattern_bytes: _Optional[int] = ..., aliases: _Optional[int] = ..., options_bytes: _Optional[int] = ..., device_memory_bytes: _Optional[int] = ...) -> None: ...
