"""A report out of JSON that `prune run --json` or `--report` wrote, or `prune jobs show --json`: checked, part by part.

Fields that this version does not know are ignored, as a newer one may have written them.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from pruning_client.results.plan import Plan, TensorPlan
from pruning_client.results.report import Report

_NAMES: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}

_OTHERS: Final[Mapping[str, str]] = {
    "peak_bytes": "a plan, which `prune run --plan` printed; nothing was pruned",
    "methods": "what `prune methods` printed",
    "jobs": "a list of jobs; give the JSON of one: prune jobs show NAME --json",
    "changed_entries": "what `prune diff` printed",
    "rules": "a recipe; give it to: prune run --recipe",
    "weight_map": "an index of shards; its name must end in .safetensors.index.json",
}
"""Other JSON that is at hand, by a field that it has."""


def report_of_json(value: object) -> Report:
    """Return the report of a run or of a job that is done. Raises: ValueError that says what is wrong, and where."""
    found = _of_run(value)
    plan = found.get("plan")
    others = [_not_selected(each) for each in found.get("largest_not_selected") or () if isinstance(each, Mapping)]
    report: Report = _read(Report, {**found, "plan": None, "seed": _seed(found), "largest_not_selected": others}, "")
    if not isinstance(plan, Mapping):
        return report
    tensors = _read(tuple[TensorPlan, ...], plan.get("tensors"), "plan.tensors")
    return _with_plan(report, tensors)


def _of_run(value: object) -> Mapping[str, Any]:
    """Return the fields of a report, those within a job's JSON too."""
    if not isinstance(value, Mapping):
        raise ValueError(f"is {_described(value)}, and not the JSON object that `prune run --report` writes")
    if isinstance(value.get("error"), Mapping):
        raise ValueError(f"has the error of a run instead of a report: {value['error'].get('message')}")
    if "operation" in value:
        if not isinstance(value.get("report"), Mapping):
            raise ValueError(f"is a job that is {value.get('state')}: it has a report once it has succeeded")
        return _of_run(value["report"])
    missing = [name for name in ("tensors", "seconds", "version") if name not in value]
    if missing:
        known = next((what for name, what in _OTHERS.items() if name in value), None)
        raise ValueError(f"is {known}" if known else f"is not the JSON of a run: it has no {', '.join(missing)}")
    if any(isinstance(tensor, Mapping) and tensor.get("curve") for tensor in _listed(value["tensors"])):
        raise ValueError("is what `prune scan` printed; nothing was pruned")
    return value


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _seed(found: Mapping[str, Any]) -> object:
    """Return the seed as a number: it is written as text, because many readers of JSON have 53 bits."""
    seed = found.get("seed")
    return int(seed) if isinstance(seed, str) and seed.isdecimal() else seed


def _not_selected(tensor: Mapping[str, Any]) -> dict[str, Any]:
    return {**tensor, "rules": [], "not_selected": tensor.get("reason")}


def _with_plan(report: Report, tensors: tuple[TensorPlan, ...]) -> Report:
    plan = Plan(
        tensors=tensors,
        request_id=report.request_id,
        peak_bytes=0,
        result_bytes=report.result_bytes,
        seed=report.seed,
        device=report.device,
    )
    return replace(report, plan=plan)


def _read(kind: Any, value: object, where: str) -> Any:
    """Return a value of a type out of JSON. Raises: ValueError with the path to what is of another type."""
    if is_dataclass(kind):
        return _read_fields(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return _read(next(each for each in arguments if each is not NoneType), value, where)
    if origin is tuple:
        return _read_list(arguments, value, where)
    if origin is not None:  # a mapping of text
        if not isinstance(value, Mapping):
            raise _wrong(value, "an object", where)
        return {key: _read(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    return _read_one(kind, value, where)


def _read_fields(kind: Any, value: object, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(value, "an object", where)
    hints, read = get_type_hints(kind), {}
    for field in fields(kind):
        path = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            read[field.name] = _read(hints[field.name], value[field.name], path)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"has no {path}")
    return kind(**read)


def _read_list(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(value, "a list", where)
    kinds = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
    return tuple(_read(kind, each, f"{where}[{n}]") for n, (kind, each) in enumerate(zip(kinds, value, strict=False)))


def _read_one(kind: type, value: object, where: str) -> Any:
    if kind is float and value == "Infinity":  # as in protobuf's JSON mapping
        return float("inf")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise _wrong(value, _NAMES[kind], where)
    return value


def _wrong(value: object, expected: str, where: str) -> ValueError:
    return ValueError(f"{where} is {_described(value)}, and not {expected}")


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else repr(value)
