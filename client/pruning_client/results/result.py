"""What `Client.prune` returns: the result's bytes, as a state dict or as a file."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import Any

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.compressed import unpacked
from pruning_client.checkpoints.packed import is_packed
from pruning_client.checkpoints.state_dict import restore
from pruning_client.frameworks import base as frameworks
from pruning_client.frameworks.base import Framework
from pruning_client.masks.masks import Target, masks_in
from pruning_client.results.plan import Plan
from pruning_client.results.report import Report
from pruning_proto.counted import counted
from pruning_proto.safetensors.header import Layout


class Result:
    """A pruned checkpoint, and how it was made.

    Attributes:
        report: what was done, tensor by tensor.
        plan: what the server announced.
        layout: names, dtypes and shapes of the result.
    Example:
        >>> result = client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5), output="mask")
        >>> result
        <Result of 1 tensor, 50.00% of the selected weights pruned>
        >>> int((result.apply_to({"fc1.weight": weight.copy()})["fc1.weight"] == 0).sum())
        16
    """

    def __init__(  # noqa: PLR0913 - a value; one keyword for each part
        self,
        *,
        plan: Plan,
        report: Report,
        header: bytes,
        layout: Layout,
        buffer: memoryview,
        aliases: Mapping[str, str],
        names: Sequence[str],
        framework: Framework | None,
    ) -> None:
        self.plan = plan
        self.report = report
        self.layout = layout
        self._header = header
        self._buffer = buffer
        self._aliases = aliases
        self._names = names
        self._framework = framework

    def __repr__(self) -> str:
        return (
            f"<Result of {counted(len(self.layout.tensors), 'tensor')}, {self.report.sparsity:.2%} of the "
            f"selected weights pruned>"
        )

    @property
    def metadata(self) -> Mapping[str, str]:
        """The result's `__metadata__`; its key `pruning.v1` has the recipe of each round."""
        return self.layout.metadata

    @cached_property
    def state_dict(self) -> dict[str, Any]:
        """The tensors by name, in the library of the state dict that was pruned.

        For a file: torch's if torch is imported, else numpy's. They are on the CPU, writable, and share one block of
        memory. A result of output "packed" is unpacked here; `save` writes it packed.
        Raises: ImportError if neither is installed, or if numpy is missing, which unpacking needs.
        """
        return self._restore(self._framework or frameworks.default_framework())

    def to_torch(self) -> dict[str, Any]:
        """Return the tensors as torch's, whatever was pruned. Raises: ImportError without torch."""
        return self._restore(frameworks.torch_framework())

    def to_numpy(self) -> dict[str, Any]:
        """Return the tensors as numpy's, whatever was pruned. Raises: ImportError without numpy."""
        return self._restore(frameworks.numpy_framework())

    def apply_to(self, target: Target) -> Target:
        """Prune a state dict or a torch module in place with this result's masks; return the same object.

        For results of output "mask": for 340 MB of weights 11 MB are received, and the caller's tensors become what
        output "pruned" would have returned. See `Masks.apply_to` for what it takes.

        Raises: MismatchError, and nothing is changed, if a tensor is missing or does not fit. CheckpointError if this
        result has another output format. TypeError for what is neither a state dict nor a module.
        """
        shapes = {tensor.name: tensor.shape for tensor in self.plan.tensors}
        return masks_in(self.layout, self._buffer, self._aliases, shapes).apply_to(target)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result as a safetensors file, whole or not at all; tied tensors are in it once.

        Raises: OSError.
        Example:
            >>> client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5)).save("result.safetensors")
        """
        with replacing(path) as file:
            file.write(self._header)
            file.write(self._buffer)

    def _restore(self, framework: Framework) -> dict[str, Any]:
        layout, buffer = self.layout, self._buffer
        if is_packed(layout):
            layout, buffer = unpacked(layout, buffer)
        return restore(layout, buffer, self._aliases, self._names, framework)
