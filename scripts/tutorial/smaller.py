"""The third part of the tutorial: removing channels, packing files, and comparing all models."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from pruning_client import Client, PruningSchedule, rules
from pruning_client.files.pack import pack_file
from pruning_client.torch import load_packed, load_pruned
from scripts.tutorial.digits import Digits, LeNet, accuracy, milliseconds, nonzero_weights, train
from scripts.tutorial.effort import Effort


def coupled_channels() -> list[rules.Group]:
    """Return the coupled channels of LeNet: the outputs of one layer are the inputs of the next."""
    return [
        rules.group(["conv1.weight:0", "conv1.bias:0", "conv2.weight:1"]),
        rules.group(["conv2.weight:0", "conv2.bias:0", rules.tie("fc1.weight", 1, inner=4 * 4)]),
        rules.group(["fc1.weight:0", "fc1.bias:0", "fc2.weight:1"]),
    ]


def remove_channels(client: Client, model: LeNet, digits: Digits, effort: Effort) -> LeNet:
    """Remove half of every layer's channels in three rounds, with fine-tuning after each."""
    for step in PruningSchedule.constant_fraction_to(0.5, rounds=3):
        rule = rules.remove_units(step.fraction, groups=coupled_channels())
        result = client.prune(model.state_dict(), rule, output="removed")
        model = LeNet()
        load_pruned(model, result)
        train(model, digits.train, epochs=effort.tuning_epochs)
        kept = ", ".join(f"{len(group.kept):3} of {group.units:3}" for group in result.report.groups)
        print(f"{kept} channels: {parameters(model):7,} parameters, accuracy {accuracy(model, digits.validation):.1%}")
    print(model)
    return model


def pack(model: nn.Module, folder: Path) -> tuple[int, int]:
    """Save a model dense and packed; return the sizes of both files in bytes."""
    dense, packed = folder / "dense.safetensors", folder / "packed.safetensors"
    save_file(model.state_dict(), dense)
    pack_file(dense, packed)
    return dense.stat().st_size, packed.stat().st_size


def pack_and_unpack(model: LeNet, folder: Path) -> None:
    """Pack a pruned model, load it again, and check that nothing is lost."""
    dense, packed = pack(model, folder)
    print(f"dense {dense:,} bytes, packed {packed:,} bytes: {packed / dense:.1%}")
    again = LeNet()
    again.load_state_dict(load_packed(folder / "packed.safetensors"))
    is_equal = all(old.equal(new) for old, new in zip(model.parameters(), again.parameters(), strict=True))
    print("unpacked equals the original:", is_equal)


def compare(models: Mapping[str, LeNet], digits: Digits, folder: Path, effort: Effort) -> None:
    """Print the accuracy, size, file size and inference time of each model on the test digits."""
    times = milliseconds(list(models.values()), digits.test, times=effort.times)
    print(f"{'':34} accuracy  parameters  not zero  bytes dense  bytes packed     ms")
    for (name, model), taken in zip(models.items(), times, strict=True):
        dense, packed = pack(model, folder)
        cells = f"{accuracy(model, digits.test):8.1%}  {parameters(model):10,}  {nonzero_weights(model):8,}"
        print(f"{name:34} {cells}  {dense:11,}  {packed:12,}  {taken:5.1f}")


def parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model, including zeros and biases."""
    return sum(parameter.numel() for parameter in model.parameters())
