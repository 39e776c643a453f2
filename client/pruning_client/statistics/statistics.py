"""`Statistics`: their value, and what can be done with them."""

from os import PathLike
from typing import Self

from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.statistics.value import StatisticsValue


class Statistics(StatisticsValue):
    """Sums over the inputs of a model's layers, for calls that prune by them.

    Attributes:
        kind: "norms" has `w:in_sum2` and `w:in_sum` of shape [C] and `w:in_count`; "gram" also `w:in_gram`, [C, C], the
            sum over all tokens of x xᵀ; "inputs" also `w:inputs`, [T, C], a sample of the inputs. C is the number of
            input channels; of a convolution it is the product of the weight's dims after the first, in their order.
            Experts that are stacked in one tensor have one more dim, of experts, in front. "layers" and "experts" have
            `g:unit_sum` and `g:unit_count`, one number for each unit of a group `g`, whose quotient is its score.
        tensors: by full name, `w:in_gram`, with the weight's name on disk.
        aliases: auxiliary tensors that are equal to another one, because the weights have the same input.
        input_dims: the dim of the input channels, by the weight's name, on disk and in memory.
        tokens: how many inputs were counted, by the weight's name on disk; of stacked experts over all of them. Of
            kinds "layers" and "experts" by the group's name, over all of its units.
        module_names: the names on disk of weights that have another name in memory; a tuple for a weight that stacks
            them.
        skipped: weights of the model without statistics, by name, each with the reason.
        unmapped: names in a foreign file that belong to no known weight.
        model_type: as in the model's config.json; empty if it is not known.
    Raises (`load`, `save`): OSError, CheckpointError.
    Example:
        >>> statistics = collect_statistics(model, [torch.randn(16, 4)])  # of pruning_client.torch
        >>> statistics.save("statistics.safetensors")
        >>> Statistics.load("statistics.safetensors").weights
        ('0.weight', '2.weight')
    """

    __slots__ = ()

    def save(self, path: str | PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all. Raises: OSError."""
        from pruning_client.statistics.file import save  # noqa: PLC0415 - only those who write one

        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], *, files: Files = DISK) -> Self:
        """Return the statistics in a file; tensors are read when they are needed. `files` has its bytes.

        Raises: OSError. CheckpointError if the file is not one that `save` wrote.
        """
        from pruning_client.statistics.file import load  # noqa: PLC0415 - only those who read one

        return cls(**load(path, files))

    @classmethod
    def from_imatrix(cls, path: str | PathLike[str], *, prefix: str = "model.") -> Self:
        """Return the statistics in an imatrix file of llama.cpp, in GGUF; of kind "norms", without `w:in_sum`.

        Names are mapped for the Llama, Qwen, Mistral and Gemma families, experts too; `unmapped` has the others.
        `prefix` is what the names of layers begin with in the model's files, before `layers.0`.
        Raises: OSError. ImportError without the package `gguf`. CheckpointError if it is not such a file, or one in the
        earlier format (.dat).
        """
        from pruning_client.statistics.imatrix import read  # noqa: PLC0415 - only those who read one

        return cls(**read(path, prefix))

    def merge(self, *others: "Statistics") -> Self:
        """Return the statistics of all batches together: sums are added in fp64, inputs are put one after the other.

        Raises: MismatchError if they are of different kinds, or not of the same weights. ImportError without numpy.
        """
        from pruning_client.statistics.merging import merged  # noqa: PLC0415 - imports numpy

        return type(self)(**merged((self, *others)))
