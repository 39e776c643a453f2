"""The tutorial: train a LeNet, prune it with every method, fine-tune it, make it smaller. See docs/tutorial.md.

python -m scripts.tutorial            three minutes on two cores
python -m scripts.tutorial --write    also write its code, output and plot into docs/
python -m scripts.tutorial --short    train only a little, to check that everything runs
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

import torch

from pruning_client import Client
from scripts.embedded_server import embedded_server
from scripts.environments import ROOT
from scripts.tutorial import curves, digits, encoder, language_model, masks, rounds, smaller
from scripts.tutorial.effort import SHORT, Effort
from scripts.tutorial.notebook import Notebook, with_code, with_outputs
from scripts.tutorial.plot import save_plot

DOCUMENT: Final = ROOT / "docs" / "tutorial.md"
PLOT: Final = ROOT / "docs" / "tutorial.png"
QUOTED: Final = {
    name: value
    for module in (digits, masks, rounds, smaller, curves, encoder, language_model)
    for name, value in vars(module).items()
}
"""The functions and classes that the document may quote, by name."""


def main() -> None:
    """Run the tutorial; write the document if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--short", action="store_true", help="train only a little")
    how.add_argument("--write", action="store_true", help="write code, outputs and plot into docs/")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        plot = PLOT if arguments.write else Path(folder, PLOT.name)
        with embedded_server() as server, Client(server.address) as client:
            outputs = run_steps(client, SHORT if arguments.short else Effort(), Path(folder), plot)
    if arguments.write:
        document = with_code(DOCUMENT.read_text(encoding="utf-8"), QUOTED)
        DOCUMENT.write_text(with_outputs(document, outputs), encoding="utf-8")
    print(f"\n{time.perf_counter() - begin:.0f} s")


def run_steps(client: Client, effort: Effort, folder: Path, plot: Path) -> dict[str, str]:
    """Run the steps in order and return what each printed. The plot goes to `plot`, other files into `folder`."""
    torch.manual_seed(0)
    notebook, data = Notebook(), digits.load(effort.images)
    with notebook.step("trained"):
        dense = masks.trained(data, effort)
    with notebook.step("look_inside"):
        masks.look_inside(dense)
    with notebook.step("prune_twice"):
        masks.prune_twice(dense)
    with notebook.step("compare_methods"):
        masks.compare_methods(dense, data)
    with notebook.step("prune_globally"):
        masks.prune_globally(dense, data)
    with notebook.step("prune_with_own_method"):
        masks.prune_with_own_method(dense, data)
    with notebook.step("make_final"):
        at_once = masks.make_final(dense)
    with notebook.step("hold_zeros"):
        rounds.hold_zeros(at_once, data)
    with notebook.step("prune_in_rounds"):
        in_rounds = rounds.prune_in_rounds(client, dense, 0.98, data, effort)
    with notebook.step("validate"):
        rounds.validate(dense, in_rounds, data)
    with notebook.step("remove_channels"):
        narrow = smaller.remove_channels(client, dense, data, effort)
    with notebook.step("pack_and_unpack"):
        smaller.pack_and_unpack(in_rounds, folder)
    with notebook.step("prune_the_rest"):
        both = rounds.prune_in_rounds(client, narrow, 0.9, data, effort)
    with notebook.step("compare"):
        stages = {
            "dense": dense,
            "90% zeros, at once": at_once,
            "98% zeros, in rounds": in_rounds,
            "half of the channels removed": narrow,
            "and 90% of the rest zeros": both,
        }
        smaller.compare(stages, data, folder, effort)
    with notebook.step("prune_minilm"):
        encoder.prune_minilm(client, effort)
    with notebook.step("prune_language_model"):
        language_model.prune_language_model(client, effort)
    with notebook.step("draw_curves"):
        save_plot(curves.draw_curves(client, data, effort), plot)
    return notebook.outputs


if __name__ == "__main__":
    main()
