"""The operations of `methods.arrays.Arrays` on tensors of torch, on whatever device they are."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pruning_engine.kernels.compiled.statistics_kernels import Columns

Tensor = torch.Tensor


class TorchArrays:
    """See `Arrays`, where each operation is described."""

    def zeros(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return zeros of the dtype and device of `like`."""
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def copy(self, array: Tensor) -> Tensor:
        """Return a contiguous copy."""
        return array.clone(memory_format=torch.contiguous_format)

    def columns(self, array: Tensor, chosen: Tensor) -> Tensor:
        """Return a contiguous copy of the columns that are True in `chosen`."""
        return array[:, chosen]

    def cast(self, array: Tensor, like: Tensor) -> Tensor:
        """Return the tensor in the dtype of `like`; itself if it has it."""
        return array.to(like.dtype)

    def in_dtype(self, array: Tensor, dtype: npt.DTypeLike) -> Tensor:
        """Return the tensor in a dtype by numpy's name for it."""
        return array.to(getattr(torch, np.dtype(dtype).name))

    def like(self, array: npt.NDArray[Any], other: Tensor) -> Tensor:
        """Return an array of numpy's in the dtype and on the device of another."""
        return torch.from_numpy(array).to(other.device, other.dtype)

    def host(self, array: Tensor) -> npt.NDArray[Any]:
        """Return an array of numpy's."""
        result: npt.NDArray[Any] = array.detach().cpu().numpy()
        return result

    def where(self, condition: Tensor, true: Tensor, false: Tensor | float) -> Tensor:
        """Return `true` where the condition holds, else `false`."""
        return torch.where(condition, true, false)

    def transpose(self, array: Tensor) -> Tensor:
        """Return a view with the last two dims exchanged."""
        return array.transpose(-1, -2)

    def dot_rows(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the products of equal rows, (R,), summed in fp64."""
        return (one * other).sum(1, dtype=torch.float64)

    def matmul(self, one: Tensor, other: Tensor) -> Tensor:
        """Return one @ other."""
        return one @ other

    def product(self, one: Tensor, other: Tensor, out: Tensor) -> None:
        """Write one @ other to `out`."""
        torch.matmul(one, other, out=out)

    def orthonormal(self, columns: Tensor) -> Tensor:
        """Return an orthonormal basis of the space of some columns."""
        result: Tensor = torch.linalg.qr(columns)[0]
        return result

    def eigen(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns."""
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors

    def invert(self, matrices: Tensor) -> None:
        """Replace matrices (N, K, K) by their inverses."""
        matrices.copy_(torch.linalg.inv(matrices))

    def upper_factor(self, matrix: Tensor, damping: float) -> Tensor | None:
        """Return U, upper triangular, with UᵀU = (matrix + damping I)⁻¹; None if that is not positive definite."""
        identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        factor, problem = torch.linalg.cholesky_ex((matrix + damping * identity).flip(0, 1))
        if int(problem) or not bool(factor.isfinite().all()):
            return None
        result: Tensor = torch.linalg.solve_triangular(factor.flip(0, 1), identity, upper=True)
        return result

    def inverse(self, matrix: Tensor, damping: float) -> Tensor | None:
        """Return (matrix + damping I)⁻¹; None if that is not positive definite."""
        identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        factor, problem = torch.linalg.cholesky_ex(matrix + damping * identity)
        if int(problem) or not bool(factor.isfinite().all()):
            return None
        return torch.cholesky_inverse(factor)

    def prune_least(self, scores: Tensor, candidates: Tensor, count: int) -> Tensor:
        """Return `candidates` without the `count` of least score; of equal ones the first in flat order are pruned."""
        flat = self.prune_least_in_rows(scores.reshape(1, -1), candidates.reshape(1, -1), np.array([count]))
        return flat.reshape(scores.shape)

    def prune_least_in_rows(self, scores: Tensor, candidates: Tensor, counts: npt.NDArray[np.int64]) -> Tensor:
        """Return `candidates` without the `counts[row]` of least score of each row, ties as in prune_least."""
        ranked = torch.where(candidates, scores, torch.inf)
        order = torch.sort(ranked, dim=1, stable=True).indices
        places = torch.arange(scores.shape[1], device=scores.device)
        is_pruned = places < torch.from_numpy(counts).to(scores.device)[:, None]
        return candidates & ~torch.zeros_like(candidates).scatter_(1, order, is_pruned)

    def eliminate(self, columns: Columns) -> None:
        """Prune columns from left to right, each error made up for by the columns to its right. In place."""
        weight, upper = columns.weight, columns.upper
        for at in range(weight.shape[1]):
            columns.errors[:, at] = torch.where(columns.keep[:, at], 0.0, weight[:, at] / upper[at, at])
            weight[:, at:] -= columns.errors[:, at, None] * upper[at, at:]
        weight.masked_fill_(~columns.keep, 0)

    def eliminate_groups(self, n_of_m: tuple[int, int], columns: Columns) -> bool:  # noqa: ARG002 - left to the caller
        """Return False: the caller chooses and eliminates one group after another."""
        return False
