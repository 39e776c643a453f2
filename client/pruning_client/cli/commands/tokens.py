"""`prune tokens`: print the token ids that texts need, so that a vocabulary and its tokenizer can be cut to them."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, add_quiet, titled
from pruning_client.huggingface.folder import is_folder
from pruning_client.huggingface.vocabulary.choice import choose_folder_tokens
from pruning_client.tokenizers import choose_tokens
from pruning_client.tokenizers.id_lists import ids_in, ids_text


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="FOLDER", help="of a Hugging Face model; or a tokenizer.json")
    chosen = titled(parser, "the tokens")
    chosen.add_argument(
        "--text",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="text in UTF-8 whose tokens are needed; repeatable",
    )
    chosen.add_argument(
        "--keep",
        metavar="IDS",
        help="ids that are needed as well, such as 0-255,300, or a file of them; without --text it completes the list",
    )
    titled(parser, RESULT).add_argument(
        "-o", dest="out", type=Path, metavar="IDS.txt", help="write the ids into a file"
    )
    add_quiet(parser)


def run(options: Namespace) -> Answer:
    """Choose the tokens. Raises: PruningError, OSError, UsageError, ImportError."""
    keep = ids_in(options.keep) if options.keep is not None else []
    choose = choose_folder_tokens if is_folder(options.source) else choose_tokens
    chosen = choose(options.source, options.text, keep=keep)
    ids = ids_text(chosen.ids)
    value = {"ids": list(chosen.ids), "occurring": chosen.occurring, "tokens": chosen.tokens}
    if options.out is None:
        return Answer(value, ids, is_code=True)
    with replacing(options.out) as file:
        file.write(f"{ids}\n".encode())
    counted = f"{len(chosen.ids):,} of {chosen.tokens:,} tokens"
    return Answer(value, f"{counted}, of which {chosen.occurring:,} occur in the text" if options.text else counted)
