"""Kinds of settings: fields with their bounds, and with the words for these in messages, `--help` and the manual."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo

from pruning_service.addresses import NOWHERE, UNIX, host_and_port
from pruning_service.stores.allowed import AllowedStores

_ENDPOINT: Final = re.compile(r"https?://[^/?#@\s]+/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a setting is described, besides its meaning."""

    kind: str
    """Completes "must be ...": "a whole number of bytes"."""

    bounds: str = ""
    """Completes it too: "at least 1"."""

    ceiling: str = ""
    """The largest value where `bounds` does not have it, because nobody needs it: "at most 1,000"."""

    verb: str = "must be"
    unit: str = ""
    default: str | None = None
    """Describes a default that is computed."""

    @property
    def allowed(self) -> str:
        """All that is allowed, as messages have it."""
        return f"{self.kind}, {self.bounds}" if self.bounds else self.kind

    @property
    def range(self) -> str:
        """All that is allowed and the largest value, as the manual and `--help` have it."""
        return f"{self.allowed}, {self.ceiling}" if self.ceiling else self.allowed


@dataclass(frozen=True, slots=True)
class Computed:
    """A default that depends on the machine."""

    compute: Callable[[], int]
    words: str


def words_of(field: FieldInfo) -> Words:
    """Return the words that a field was declared with."""
    return Words(**cast("dict[str, Any]", field.json_schema_extra))


def default_of(field: FieldInfo) -> str:
    """Return a field's default in words."""
    match field.default:
        case _ if words_of(field).default is not None:
            return str(words_of(field).default)
        case None:
            return "none"
        case bool() as default:
            return f"`{str(default).lower()}`"
        case int() | float() as default:
            return f"{default:,.10g}"
        case default:
            return f"`{default}`"


def setting(default: object, meaning: str, words: Words, **bounds: Any) -> Any:
    """Return a field."""
    given: dict[str, Any] = {"default": default}
    if isinstance(default, Computed):
        given = {"default_factory": default.compute}
        words = replace(words, default=default.words)
    return Field(description=meaning, json_schema_extra=asdict(words), **given, **bounds)


INT32: Final = 2**31 - 1
"""The largest number of gRPC's options, and of most messages' fields."""

INT64: Final = 2**63 - 1
"""The largest number of bytes that any interface of the server takes."""

LONGEST_SECONDS: Final = 2_000_000
"""The longest duration, 23 days: gRPC counts milliseconds in 31 bits."""


def whole(default: int | Computed, meaning: str, unit: str, *, least: int = 1, most: int) -> Any:
    """Return the field of a whole number."""
    words = Words(
        kind=f"a whole number of {unit}", bounds=f"at least {least:,}", ceiling=f"at most {most:,}", unit=unit
    )
    return setting(default, meaning, words, ge=least, le=most)


def seconds(default: float, meaning: str, *, least: float = 0) -> Any:
    """Return the field of a duration, which may have a fraction."""
    ceiling = f"at most {LONGEST_SECONDS:,}"
    words = Words(kind="a finite number of seconds", bounds=f"at least {least:g}", ceiling=ceiling, unit="seconds")
    return setting(default, meaning, words, ge=least, le=LONGEST_SECONDS, allow_inf_nan=False)


def file(meaning: str) -> Any:
    """Return the field of a file that may be missing."""
    return setting(None, meaning, Words(kind="the path of a file", unit="file"))


def folder(meaning: str) -> Any:
    """Return the field of a folder that may be missing."""
    return setting(None, meaning, Words(kind="the path of a folder", unit="folder"))


def truth(meaning: str) -> Any:
    """Return the field of something that is off by default."""
    return setting(default=False, meaning=meaning, words=Words(kind="true or false"))


def _check_port(address: str) -> str:
    host_and_port(address, "the address")
    return address


def _check_port_or_none(address: str) -> str:
    return address if address == NOWHERE else _check_port(address)


def _check_port_or_socket(address: str) -> str:
    return address if address.startswith(UNIX) else _check_port(address)


def _check_truth(value: object) -> object:
    """Take `true` and `false` only: pydantic's `1`, `on` and `yes` are not in the manual."""
    if isinstance(value, str) and value.lower() not in ("true", "false"):
        raise ValueError("not true or false")
    return value


def _check_path(value: object) -> object:
    """Refuse an empty path, which is a variable that was not filled in, and PEM in place of its path."""
    if isinstance(value, str) and (not value or is_pem(value)):
        raise ValueError("not a path")
    return value


def _check_places(text: str | None) -> str | None:
    if text is not None:
        AllowedStores.parse(text)
    return text


def _check_endpoint(text: str | None) -> str | None:
    if text is not None and not _ENDPOINT.fullmatch(text):
        raise ValueError("not the URL of a server")
    return text


def _check_ray_address(text: str | None) -> str | None:
    if text is not None:
        _check_port(text.removeprefix("ray://"))
    return text


def is_pem(text: str) -> bool:
    """Whether a text may be a key or a certificate itself, which no message may show."""
    return "-----BEGIN" in text


Truth: TypeAlias = Annotated[bool, BeforeValidator(_check_truth)]
File: TypeAlias = Annotated[Path, BeforeValidator(_check_path)]
PlacesOrNone: TypeAlias = Annotated[str | None, AfterValidator(_check_places)]
Endpoint: TypeAlias = Annotated[str | None, AfterValidator(_check_endpoint)]
RayAddress: TypeAlias = Annotated[str | None, AfterValidator(_check_ray_address)]
PortOrNone: TypeAlias = Annotated[str, AfterValidator(_check_port_or_none)]
PortOrSocket: TypeAlias = Annotated[str, AfterValidator(_check_port_or_socket)]


def choice(*allowed: str) -> Words:
    """Return the words for one of several texts."""
    return Words(verb="is", kind=f"{', '.join(allowed[:-1])} or {allowed[-1]}")


PORT_OR_NONE: Final = Words(kind="host:port, with a port of 0 to 65535, or none", unit="address")
PORT_OR_SOCKET: Final = Words(kind="host:port, with a port of 0 to 65535, or unix:/path", unit="address")
