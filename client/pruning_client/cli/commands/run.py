"""`prune run`: prune a file, or the folder of a Hugging Face model."""

import argparse
import re
import sys
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pruning_client.calls.exchange import Watcher
from pruning_client.calls.request import recipe_of
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, UsageError, add_canonical_zero, add_quiet, add_top, add_zstd, titled
from pruning_client.cli.commands.option_names import naming_options, naming_options_in
from pruning_client.cli.commands.surgery_options import (
    add_surgery_options,
    all_rules_of,
    removes_whole_units,
    surgery_warnings,
)
from pruning_client.cli.executor_option import (
    add_executor_options,
    check_executor,
    executor_warnings,
    open_service_of_run,
    take_executor,
)
from pruning_client.cli.inspection.html_option import PageWriter, add_html, check_paths, page_writer
from pruning_client.cli.jobs.run import add_job_options, check_no_job_options, is_job, run_job_on_server
from pruning_client.cli.places import Places, Source, location
from pruning_client.cli.report_text import ResultFacts, packed_lines, plan_text, report_text
from pruning_client.cli.result_path import STDOUT, add_overwriting, may_replace_folder
from pruning_client.cli.result_place import ResultPlace, result_place
from pruning_client.cli.rule_options import RULE, add_rule_options, option_warnings
from pruning_client.cli.server_options import add_server_options, open_here, take_server_of_environment
from pruning_client.cli.service import Service
from pruning_client.cli.statistics_option import choose_method, statistics_of
from pruning_client.cli.tables import printable, terminal_width
from pruning_client.errors import PruningError
from pruning_client.huggingface.folder import (
    FOLDER_OUTPUTS,
    FolderOptions,
    completed_recipe,
    not_copied,
    prune_model,
)
from pruning_client.huggingface.new_folder import check_new
from pruning_client.huggingface.vocabulary.folder_files import TokenizerTrim
from pruning_client.results.output_format import Output
from pruning_client.results.plan import TensorPlan
from pruning_client.results.removed_entries import removed_entries
from pruning_client.results.report import Report
from pruning_client.rules.recipe import Recipe
from pruning_client.statistics.statistics import Statistics


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source",
        type=location,
        metavar="IN.safetensors",
        help="or the folder of a Hugging Face model or of a diffusers pipeline; its result is a folder that "
        "from_pretrained loads. Either may be in an object store: s3://BUCKET/KEY, gs://, az://; with --server and two "
        "URIs, the server opens them (a job)",
    )
    _add_result_options(parser)
    _add_dry_options(parser)
    add_rule_options(parser, takes_statistics=True)
    titled(parser, RULE).add_argument(
        "--seed", type=int, metavar="S", help="of random choices, 0 to 2^64 - 1; default: drawn, and reported"
    )
    add_surgery_options(parser)
    add_executor_options(parser)
    add_server_options(parser)
    add_job_options(parser)
    _add_report_options(parser)
    add_top(parser)
    add_quiet(parser)


def _add_result_options(parser: ArgumentParser) -> None:
    result = titled(parser, RESULT)
    result.add_argument(
        "-o",
        dest="out",
        type=location,
        metavar="OUT.safetensors",
        help="the result; a file may be IN itself, a folder must not exist or hold an earlier result alone, and in an "
        "object store nothing may be there; -: standard output",
    )
    result.add_argument(
        "--output",
        choices=get_args(Output),
        metavar="FORMAT",
        help=f"{', '.join(get_args(Output))}; packed: what is not zero, and one bit per entry; removed: smaller "
        "tensors, without the pruned channels; default: pruned, or removed where whole experts, layers or tokens are",
    )
    add_overwriting(parser)
    add_canonical_zero(parser)
    add_zstd(parser)
    result.add_argument(
        "--max-shard-size",
        type=_size,
        metavar="SIZE",
        help="of a folder's result: split the weights into files of at most this size, such as 5GB; default: as the "
        "source",
    )
    result.add_argument(
        "--tokenizer",
        action="store_true",
        help="where the vocabulary of a folder is cut: cut its tokenizer.json as well; default: leave out the files of "
        "its tokenizer",
    )
    result.add_argument(
        "--verify-text", type=Path, metavar="TEXT", help="with --tokenizer: refuse if this text is encoded differently"
    )
    result.add_argument(
        "--check-with-transformers",
        action="store_true",
        help="of a folder's result: have transformers build the model, and refuse if it cannot; default: where it is "
        "installed, but for experts of architectures that are tested",
    )


def _add_dry_options(parser: ArgumentParser) -> None:
    dry = titled(parser, "without a result").add_mutually_exclusive_group()
    dry.add_argument(
        "--plan",
        action="store_true",
        help="only print what would be pruned or removed; of the weights, only routers that rank experts are read",
    )
    dry.add_argument("--dry-run", action="store_true", help="only print the report; nothing is written")


def _add_report_options(parser: ArgumentParser) -> None:
    reports = titled(parser, "reports")
    add_html(reports)
    reports.add_argument(
        "--report",
        type=Path,
        metavar="REPORT.json",
        help="write what --json prints into a file, for the next step, and for `prune report`",
    )
    reports.add_argument(
        "--digests", action="store_true", help="report SHA-256 of the input and the result, checked on both sides"
    )


def run(options: Namespace) -> Answer:
    """Prune, plan or dry-run. Raises: PruningError, OSError, UsageError, ImportError."""
    if options.report is None:
        return _run_with_warnings(options)
    if isinstance(options.out, Path) and options.report.resolve() == options.out.resolve():
        raise UsageError("--report and -o name the same file; give the report another name")
    with replacing(options.report) as report:  # refused before the work if it cannot be written
        answer = _run_with_warnings(options)
        report.write(answer.as_json().encode())
    return answer


def _run_with_warnings(options: Namespace) -> Answer:
    """Prune, and warn about options that may not mean what was meant; an error says so too."""
    warnings = option_warnings(options)
    try:
        with naming_options(options):
            return naming_options_in(_run(options), options).with_warnings(warnings)
    except PruningError as error:
        for warning in warnings:
            error.add_note(warning.message)
        raise


def _run(options: Namespace) -> Answer:
    take_server_of_environment(options)
    check_executor(options)
    if is_job(options):
        recipe = recipe_of(all_rules_of(options), options.seed)
        _take_default_output(recipe, options)
        return run_job_on_server(recipe, options).with_warnings(surgery_warnings(options))
    check_no_job_options(options)
    open_here(options)
    take_executor(options)
    check_paths(options)
    with Places() as places:
        return _run_at(places, places.source(options.source), options)


def _run_at(places: Places, source: Source, options: Namespace) -> Answer:
    statistics = statistics_of(options, places)
    choice = choose_method(options, source.weights, statistics)
    recipe = recipe_of(all_rules_of(options), options.seed)
    _take_default_output(recipe, options)
    _check_out(source, options)
    _check_source(source, options)
    if source.is_folder:
        recipe = completed_recipe(source.path, recipe)
    with open_service_of_run(options, places) as service, page_writer(options) as page:
        run = _Run(service, places, source, recipe, statistics, options, page)
        answer = run.answer().with_warnings((*surgery_warnings(options), *executor_warnings(service, options)))
    return answer if choice is None else answer.beginning_with(choice.summary, {"auto": choice.summary})


def _take_default_output(recipe: Recipe, options: Namespace) -> None:
    if options.output is None:
        options.output = "removed" if removes_whole_units(recipe) else "pruned"


@dataclass(frozen=True, slots=True)
class _Run:
    """A command whose options were found valid."""

    service: Service
    places: Places
    source: Source
    recipe: Recipe
    statistics: Statistics | None
    options: Namespace
    page: PageWriter

    def answer(self) -> Answer:
        """Prune, plan or dry-run."""
        recipe, options = self.recipe, self.options
        if options.plan:
            plan = self.service.plan(self.source.weights, recipe, statistics=self.statistics)
            text = plan_text(plan, terminal_width(), options.top, options.output)
            return Answer(_asked(recipe, options) | plan.to_dict(), text, plan.warnings)
        with _progress(options) as progress:
            if not options.dry_run:
                return self._prune(progress)
            report = self.service.dry_run(
                self.source.weights, recipe, statistics=self.statistics, digests=options.digests, progress=progress
            )
            self.page.write(report, recipe.to_dict(), None)
            lines = _lines(report, recipe, options)
            return Answer(_asked(recipe, options) | _reported(report), "\n".join(lines), report.warnings)

    def _prune(self, progress: Watcher | None) -> Answer:
        source, options = self.source, self.options
        left_out = not_copied(source.path, options.output, source.files) if source.is_folder else []
        with result_place(options, source, self.places) as out:
            report = self._folder(out, progress) if source.is_folder else self._file(out, progress)
            self.page.write(report, self.recipe.to_dict(), out.path.path)
            is_read = options.output == "removed" and isinstance(out.place, Path)
            removed = removed_entries(report.plan, out.path.path) if is_read else None
        lines = _lines(report, self.recipe, options, removed)
        if left_out:
            lines.append(printable(f"not copied, because it would not be pruned: {', '.join(left_out)}"))
        fields = {"not_copied": list(left_out)} if source.is_folder else {}
        answer = out.path.answer(_asked(self.recipe, options) | _reported(report) | fields, "\n".join(lines))
        return replace(answer, warnings=report.warnings)

    def _folder(self, out: ResultPlace, progress: Watcher | None) -> Report:
        options = self.options
        how = FolderOptions(
            recipe=self.recipe,
            output=options.output,
            statistics=self.statistics,
            digests=options.digests,
            max_shard_bytes=options.max_shard_size,
            tokenizer=TokenizerTrim(options.verify_text) if options.tokenizer else None,
            check_with_transformers=options.check_with_transformers,
        )
        return prune_model(self.service, self.source.folder, out.folder, how, progress)

    def _file(self, out: ResultPlace, progress: Watcher | None) -> Report:
        options = self.options
        return self.service.prune_file(
            self.source.weights,
            out.file,
            self.recipe,
            output=options.output,
            statistics=self.statistics,
            digests=options.digests,
            canonical_zero=options.canonical_zero,
            compression="zstd" if options.zstd else None,
            progress=progress,
        )


def _check_out(source: Source, options: Namespace) -> None:
    dry = "--plan" if options.plan else "--dry-run" if options.dry_run else None
    if dry is None and options.out is None:
        raise UsageError("-o OUT.safetensors is required; or, to write nothing, --plan or --dry-run")
    if dry is not None and options.out is not None:
        raise UsageError(f"{dry} writes nothing; leave out -o")
    if options.plan and options.digests:
        raise UsageError("--plan reads no weights; leave out --digests")
    if options.max_shard_size is not None and not source.is_folder:
        raise UsageError("--max-shard-size is for the folder of a model; a file's result is one file")
    if options.verify_text is not None and not options.tokenizer:
        raise UsageError("--verify-text is for --tokenizer; give that too, or leave it out")
    if options.tokenizer and not source.is_folder:
        raise UsageError("--tokenizer is for the folder of a model, which has one; leave it out")
    if options.check_with_transformers and (options.output != "removed" or not source.is_folder):
        raise UsageError("--check-with-transformers is for a folder's result of --output removed; leave it out")
    if options.canonical_zero and (dry is not None or options.output != "packed"):
        raise UsageError("--canonical-zero is for --output packed; give that too, or leave it out")
    if options.zstd and (dry is not None or options.output != "packed"):
        raise UsageError("--zstd is for --output packed; give that too, or leave it out")


def _size(text: str) -> int:
    """Return the bytes of a size such as 5GB, 200MB or 4GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?", text.strip())
    count = (
        0
        if match is None
        else int(float(match[1]) * (1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " "))
    )
    if count < 1:
        raise argparse.ArgumentTypeError(f"this is a number of bytes with a unit, such as 5GB or 200MB; got {text!r}")
    return count


def _check_source(source: Source, options: Namespace) -> None:
    """Refuse an invalid source or an existing target before a server is asked."""
    if not source.is_folder:
        source.weights.open()
        return
    if options.output not in FOLDER_OUTPUTS:
        raise UsageError(f"the result of a folder can be loaded: --output {' or '.join(FOLDER_OUTPUTS)}")
    if isinstance(options.out, Path) and str(options.out) != STDOUT and not may_replace_folder(options, source.path):
        check_new(options.out)


def _asked(recipe: Recipe, options: Namespace) -> dict[str, Any]:
    """Return what was asked, for programs: the recipe, which --recipe reads again, and of which file."""
    return {"source": str(options.source), "output": options.output, "recipe": recipe.to_dict()}


def _reported(report: Report) -> dict[str, Any]:
    """Return the report for programs, with all tensors of the plan, which `prune report` shows."""
    planned = () if report.plan is None else report.plan.tensors
    return report.to_dict() | {"plan": {"tensors": list(map(_planned, planned))}}


def _planned(tensor: TensorPlan) -> dict[str, Any]:
    described = {"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "rules": tensor.rules}
    others = {name: getattr(tensor, name) for name in ("not_selected", "removed", "result_name")}
    return described | {name: value for name, value in others.items() if value}


def _lines(report: Report, recipe: Recipe, options: Namespace, removed: int | None = None) -> list[str]:
    result = ResultFacts(options.output, removed)
    lines = [report_text(report, terminal_width(), with_seed=recipe.is_random, top=options.top, result=result)]
    if options.output == "packed":
        lines += packed_lines(report, canonical_zero=options.canonical_zero)
    return lines


def _progress(options: Namespace) -> AbstractContextManager[Watcher | None]:
    """Return a progress bar, if somebody watches."""
    if options.json or options.quiet or not sys.stderr.isatty():
        return nullcontext()
    from pruning_client.cli.progress import progress_bar  # noqa: PLC0415 - rich is imported only for a terminal

    return progress_bar()
