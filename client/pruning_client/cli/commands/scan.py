"""`prune scan`: print how much the outputs of each layer would change, over sparsity; nothing is pruned."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pruning_client.calls.request import recipe_of
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json, add_top, part, titled
from pruning_client.cli.commands.option_names import naming_options, naming_options_in
from pruning_client.cli.places import Places, Source, location
from pruning_client.cli.rule_options import RULE, add_rule_options, rules_of, takes_amount
from pruning_client.cli.scan_text import scan_text
from pruning_client.cli.server_options import add_server_options, open_here
from pruning_client.cli.service import open_service
from pruning_client.cli.statistics_option import choose_method, statistics_of
from pruning_client.cli.tables import terminal_width
from pruning_client.huggingface.folder import completed_recipe
from pruning_client.results.report import Report
from pruning_client.statistics.statistics import Statistics

_PICTURES: Final = (".png", ".svg", ".pdf")


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        type=location,
        metavar="IN.safetensors",
        help="or the folder of a Hugging Face model; either may be in an object store, such as s3://BUCKET/KEY",
    )
    scan = titled(parser, "the scan")
    scan.add_argument(
        "--sparsities",
        type=_sparsities,
        default=(),
        metavar="S,S,...",
        help="where to look, such as 50%%,60%%,70%%; default: 10%% to 90%%",
    )
    scan.add_argument(
        "--plot", type=_picture, metavar="SCAN.png", help="draw the curves too; or .svg, .pdf; needs matplotlib"
    )
    add_rule_options(parser, takes_statistics=True)
    titled(parser, RULE).add_argument(
        "--seed", type=int, metavar="S", help="of random choices; default: drawn, and reported"
    )
    add_server_options(parser)
    add_top(parser)
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Scan a model. Raises: PruningError, OSError, UsageError, ImportError."""
    with naming_options(options):
        return naming_options_in(_run(options), options)


def _run(options: Namespace) -> Answer:
    open_here(options)
    with Places() as places, _plotting(options.plot) as plot:
        source = places.source(options.source)
        return _scan(source, statistics_of(options, places), options, plot)


@contextmanager
def _plotting(path: Path | None) -> Iterator[Callable[[Report], None]]:
    """Return what draws a scan into a file, which is there once the block ends well; nothing without a path.

    Raises: OSError. ImportError without matplotlib, before anything is scanned.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        from pruning_client.cli.inspection.scan_plot import scan_picture  # noqa: PLC0415 - it takes a second
    except ImportError as error:
        raise ImportError(f"--plot needs matplotlib: pip install 'pruning-service[plot]' ({error})") from error
    with replacing(path) as file:
        yield lambda report: file.write(scan_picture(report, path.suffix[1:].lower()))


def _scan(source: Source, statistics: Statistics | None, options: Namespace, plot: Callable[[Report], None]) -> Answer:
    weights = source.weights
    choice = choose_method(options, weights, statistics)
    recipe = recipe_of(rules_of(_with_amount(options)), options.seed)
    weights.open()  # refused before a server is asked
    if source.is_folder:
        recipe = completed_recipe(source.path, recipe)
    with open_service(options) as service:
        report = service.scan(weights, recipe, sparsities=options.sparsities, statistics=statistics)
    plot(report)
    value = {"source": str(options.source), "recipe": recipe.to_dict(), **report.to_dict()}
    answer = Answer(value, scan_text(report, terminal_width(), options.top), report.warnings)
    return answer if choice is None else answer.beginning_with(choice.summary, {"auto": choice.summary})


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in _PICTURES:
        raise argparse.ArgumentTypeError(f"this is a file ending in {', '.join(_PICTURES)}; got {text!r}")
    return path


def _with_amount(options: Namespace) -> Namespace:
    """Set an amount for a method that requires one; a scan ignores it."""
    given = (options.amount, options.count, options.sparsity, options.n_of_m)
    if takes_amount(options.method) and all(each is None for each in given):
        options.amount = 0.5
    return options


def _sparsities(text: str) -> tuple[float, ...]:
    found = tuple(part(each.strip(), "sparsities such as 50%,60%,70%") for each in text.split(","))
    if not all(0.0 < each < 1.0 for each in found):
        raise argparse.ArgumentTypeError(f"sparsities are above 0 and below 1, such as 50%,60%,70%; got {text!r}")
    return found
