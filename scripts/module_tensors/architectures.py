"""Architectures of torch, transformers and diffusers on the meta device, with default sizes and few layers."""

import inspect
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn.utils import parametrizations

SECONDS: Final = 60
"""The most time for one architecture."""

MOST_LAYERS: Final = 4
_COUNTS: Final = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "depth")
_LISTS: Final = ("layer_types", "mlp_layer_types", "layers_block_type", "block_types")


def torch_modules() -> Iterator[tuple[str, nn.Module]]:
    """Return modules of torch with weights, each by its class."""
    norm = parametrizations.weight_norm
    modules: dict[str, Callable[[], nn.Module]] = {
        "Linear": lambda: nn.Linear(4, 4),
        "Bilinear": lambda: nn.Bilinear(4, 4, 4),
        "Conv": lambda: nn.ModuleList([nn.Conv1d(4, 4, 2), nn.Conv2d(4, 4, 2), nn.Conv3d(4, 4, 2)]),
        "ConvTranspose": lambda: nn.ModuleList([nn.ConvTranspose1d(4, 4, 2), nn.ConvTranspose2d(4, 4, 2)]),
        "LSTM": lambda: nn.LSTM(4, 8, 2, bidirectional=True, proj_size=4),
        "GRU": lambda: nn.GRU(4, 4),
        "RNN": lambda: nn.RNN(4, 4),
        "cells": lambda: nn.ModuleList([nn.LSTMCell(4, 4), nn.GRUCell(4, 4), nn.RNNCell(4, 4)]),
        "Transformer": lambda: nn.Transformer(4, 2, 1, 1, 4, batch_first=True),
        "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2, kdim=2, vdim=2),
        "LayerNorm": lambda: nn.ModuleDict({"norm": nn.LayerNorm((4, 4))}),
        "embeddings": lambda: nn.ModuleDict({"emb": nn.Embedding(4, 4), "word_embedding": nn.EmbeddingBag(4, 4)}),
        "weight_norm": lambda: nn.ModuleDict(
            {"conv": norm(nn.Conv1d(4, 4, 2)), "lstm": norm(nn.LSTM(4, 4), "weight_hh_l0")}
        ),
    }
    return ((f"torch.{name}", make()) for name, make in modules.items())


def transformers_models() -> Iterator[tuple[str, nn.Module]]:
    """Return a model of each class that transformers' automatic classes make, by the type of its configuration."""
    import transformers  # noqa: PLC0415
    from transformers.models.auto import configuration_auto, modeling_auto  # noqa: PLC0415

    for name, model_type in sorted(_transformers_classes(modeling_auto).items(), key=lambda item: (item[1], item[0])):
        found = getattr(transformers, name, None)
        configuration = configuration_auto.CONFIG_MAPPING[model_type]
        model = None if found is None else _built(partial(transformers_model, found, configuration))
        if model is not None:
            yield model_type, model


def _transformers_classes(modeling_auto: Any) -> dict[str, str]:
    """Return the names of classes of models, each with the type of its configuration."""
    found: dict[str, str] = {}
    for mapping in (getattr(modeling_auto, name) for name in dir(modeling_auto) if name.endswith("_MAPPING")):
        for model_type, classes in getattr(mapping, "_model_mapping", {}).items():
            for name in classes if isinstance(classes, tuple | list) else [classes]:
                found.setdefault(name, model_type)
    return found


def transformers_model(model: Any, configuration: Any) -> nn.Module:
    """Return a model of few layers; of all its layers if it cannot have fewer."""
    configuration = model.config_class or configuration
    try:
        return _on_meta(lambda: model(_few_layers(configuration())))
    except _TookLongError:
        raise
    except Exception:  # noqa: BLE001 - sizes that depend on each other
        return _on_meta(lambda: model(configuration()))


def diffusers_models() -> Iterator[tuple[str, nn.Module]]:
    """Return a model of each class of diffusers that has default sizes."""
    import diffusers  # noqa: PLC0415

    for name in dir(diffusers):
        found: Any = getattr(diffusers, name, None)
        if inspect.isclass(found) and issubclass(found, diffusers.ModelMixin):
            model = _built(partial(_on_meta, found))  # type: ignore[arg-type]
            if model is not None:
                yield f"diffusers.{name}", model


def _few_layers(configuration: Any) -> Any:
    for name, value in list(vars(configuration).items()):
        if hasattr(value, "model_type"):
            _few_layers(value)
        elif name in _COUNTS and isinstance(value, int):
            setattr(configuration, name, min(value, MOST_LAYERS))
        elif name in _LISTS and isinstance(value, list):
            setattr(configuration, name, value[:MOST_LAYERS])
    return configuration


def _on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


class _TookLongError(Exception):
    pass


def _built(make: Callable[[], nn.Module]) -> nn.Module | None:
    """Return what `make` makes; None, and a line, if it fails or takes too long."""
    try:
        with _time_limit():
            return make()
    except Exception as error:  # noqa: BLE001 - whatever the constructors of hundreds of classes raise
        first = str(error).strip().splitlines()[:1]
        print(f"left out: {type(error).__name__}: {' '.join(first)[:100]}", file=sys.stderr)
        return None


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TookLongError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
