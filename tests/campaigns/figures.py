"""What a campaign counted: how often something was tried, how often it held, and what broke, in sentences."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SHOWN = 5
"""Sentences shown of what broke; the first usually say all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of one campaign. Units: `seconds` of wall time."""

    campaign: str
    tried: int
    broken: tuple[str, ...]
    seconds: float
    measured: tuple[str, ...] = ()
    """What else it found out, each with its unit."""

    @property
    def held(self) -> int:
        """How many of those tried came out as they must."""
        return self.tried - len(self.broken)


@dataclass(slots=True)
class Tally:
    """Figures while they are counted."""

    tried: int = 0
    broken: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    begin: float = field(default_factory=time.monotonic)

    def note(self, wrong: str | None) -> None:
        """Count one that was tried; `wrong` says what broke, None that it held."""
        self.tried += 1
        if wrong is not None:
            self.broken.append(wrong)

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Count one whose claims are assertions inside."""
        try:
            yield
        except AssertionError as error:
            self.note(f"{what}: {error}")
        else:
            self.note(None)

    def figures(self, campaign: str) -> Figures:
        """Close the count."""
        seconds = time.monotonic() - self.begin
        return Figures(
            campaign=campaign,
            tried=self.tried,
            broken=tuple(self.broken),
            seconds=seconds,
            measured=tuple(self.measured),
        )


def table(figures: Iterable[Figures]) -> str:
    """Return aligned lines, a campaign each, and below them what broke."""
    rows = [("campaign", "held", "tried", "seconds", "measured")]
    rows += [(f.campaign, f"{f.held:,}", f"{f.tried:,}", f"{f.seconds:.1f}", "; ".join(f.measured)) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    )


def complaints(figures: Figures) -> str:
    """Return what broke, the first few; empty if nothing did."""
    more = len(figures.broken) - SHOWN
    lines = [f"  {figures.campaign}: {sentence}" for sentence in figures.broken[:SHOWN]]
    return "\n".join([*lines, f"  {figures.campaign}: and {more} more"] if more > 0 else lines)
