"""For PyTorch: a miner, a loss and a dataset of triplets, over the calls of the package.

``TripletMiner`` goes where pytorch-metric-learning takes a miner, ``TripletLoss`` where a training
loop takes a loss, and ``TripletDataset`` where a ``DataLoader`` takes a dataset. They own no model
and no loop. torch is imported here and nowhere else: ``import tripletmine.torch``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.data import Dataset

import tripletmine
from tripletmine import _arrays, _losses, _options
from tripletmine._losses import TripletsLike
from tripletmine._mine import check_mine_options, options_of_round
from tripletmine._options import Metric, Reduction
from tripletmine._results import MiningReport, Triplets

__all__ = ["TripletDataset", "TripletLoss", "TripletMiner"]


class TripletMiner:
    """Mine the triplets of a batch, or of a whole set, as index tensors.

    Parameters
    ----------
    **options
        Those of :func:`tripletmine.mine`. Random strategies draw by ``seed``, in each call alike.

    Attributes
    ----------
    report : MiningReport or None
        Of the last call.

    Examples
    --------
    >>> import torch, tripletmine.torch
    >>> miner = tripletmine.torch.TripletMiner(pos_strategy="hard", neg_strategy="hard")
    >>> embeddings = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.2], [1.0, 0.0]])
    >>> miner(embeddings, torch.tensor([0, 0, 1, 1]))
    (tensor([0, 1, 2, 3]), tensor([1, 0, 3, 2]), tensor([2, 2, 1, 1]))

    What it returns is the ``indices_tuple`` of pytorch-metric-learning::

        loss = pytorch_metric_learning.losses.TripletMarginLoss()
        loss(embeddings, labels, miner(embeddings, labels))
    """

    def __init__(self, **options: Any) -> None:
        check_mine_options(options)
        self.options = options
        self.report: MiningReport | None = None

    def __call__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows of anchors, positives and negatives, int64, on the embeddings' device.

        Gradients are not followed; tensors of another device are copied to the CPU and mined there.
        """
        mined = tripletmine.mine(
            *map(_on_cpu, (embeddings, labels, ref_emb, ref_labels)), **self.options
        )
        self.report = mined.report
        anchors, positives, negatives = (
            torch.from_numpy(column).to(embeddings.device) for column in mined
        )
        return anchors, positives, negatives

    def __repr__(self) -> str:
        """Return the call that makes this miner."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"


class TripletLoss(nn.Module):
    """Compute :func:`tripletmine.triplet_loss` with a gradient for autograd.

    Works in float64 whatever the embeddings' type, and returns float64 for float64 embeddings, or
    float32. The answer is the same for any number of threads. Tensors of another device are copied
    to the CPU, and the results back.

    Parameters
    ----------
    margin, metric, reduction, n_threads
        As in :func:`tripletmine.triplet_loss`.

    Examples
    --------
    >>> import torch, tripletmine.torch
    >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> loss = tripletmine.torch.TripletLoss(margin=0.5)(x, torch.tensor([[0, 1, 2]]))
    >>> loss.backward()
    >>> loss.item(), x.grad.tolist()
    (0.5, [[-2.0, 2.0], [2.0, 0.0], [0.0, -2.0]])
    """

    def __init__(
        self,
        margin: float = 0.1,
        *,
        metric: Metric = "sqeuclidean",
        reduction: Reduction = "mean",
        n_threads: int | None = None,
    ) -> None:
        super().__init__()
        self.margin = _options.loss_margin("margin", margin)
        self.metric = _options.choice("metric", metric, _options.METRICS)
        self.reduction = _options.choice("reduction", reduction, _options.REDUCTIONS)
        _options.threads(n_threads)
        self.n_threads = n_threads

    def forward(self, embeddings: Tensor, triplets: TripletsLike | Tensor) -> Tensor:
        """Return the loss of triplets: ``Triplets``, three index tensors or a (T, 3) tensor.

        The gradient is that of the options of this call, whatever is changed before ``backward``.
        Where the loss is multiplied by what is not finite, it is NaN throughout.
        """
        _arrays.matrix("embeddings", _on_cpu(embeddings))
        if isinstance(triplets, Triplets):
            triplets = triplets.as_array()
        columns = tuple(map(_on_cpu, triplets)) if _are_columns(triplets) else _on_cpu(triplets)
        # A copy: what becomes of the caller's tensor before the backward pass must not matter.
        indices = _arrays.entries("triplets", columns, 3, len(embeddings)).copy()
        loss: Tensor = _TripletLoss.apply(embeddings, indices, self)  # type: ignore[no-untyped-call]
        return loss

    def options(self) -> dict[str, Any]:
        """Return what :func:`tripletmine.triplet_loss` is called with, but for the reduction."""
        return {"margin": self.margin, "metric": self.metric, "n_threads": self.n_threads}

    def extra_repr(self) -> str:
        """Return the options."""
        return f"margin={self.margin}, metric={self.metric!r}, reduction={self.reduction!r}"


class _TripletLoss(torch.autograd.Function):
    """One call for the value, and one for the gradient of the weighted sum."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, triplets: Any, loss: TripletLoss) -> Tensor:
        ctx.save_for_backward(embeddings)
        ctx.triplets, ctx.options, ctx.reduction = triplets, loss.options(), loss.reduction
        options: dict[str, Any] = {**ctx.options, "reduction": ctx.reduction}
        value = tripletmine.triplet_loss(_on_cpu(embeddings), triplets, **options)
        wide = embeddings.dtype == torch.float64
        return torch.as_tensor(
            value, dtype=torch.float64 if wide else torch.float32, device=embeddings.device
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (embeddings,) = ctx.saved_tensors
        count = len(ctx.triplets)
        if not grad_output.isfinite().all():  # as GradScaler makes it, to find a smaller factor
            return torch.full_like(embeddings, torch.nan), None, None
        weights = np.broadcast_to(_on_cpu(grad_output.double()).numpy(), count)
        if ctx.reduction == "mean":
            weights = weights / max(1, count)
        # Of huge ones without a power of two, which is exact and makes inf of what is beyond the
        # type, as autograd does: the embeddings are not to blame for what a loss is multiplied by.
        power = max(0, int(np.frexp(np.abs(weights).max(initial=0.0))[1]) - 64)
        gradient = _losses.weighted_triplet_gradient(
            _on_cpu(embeddings), ctx.triplets, np.ldexp(weights, -power), **ctx.options
        )
        whole = torch.from_numpy(gradient) * 2.0**power
        return whole.to(embeddings.device, embeddings.dtype), None, None


class TripletDataset(Dataset[tuple[Any, Any, Any]]):
    """Triplets of another dataset's samples, mined again between epochs.

    A map-style dataset: entry t is ``(base[anchor], base[positive], base[negative])`` of triplet t.
    Until the first :meth:`remine` it is empty. ``DataLoader`` workers, forked or spawned, read the
    triplets of the epoch they were started for; workers kept over a :meth:`remine`
    (``persistent_workers=True``) raise rather than serve old triplets.

    Parameters
    ----------
    base : map-style dataset
        ``base[i]`` is the sample of row i.
    labels : array_like of int or str, shape (len(base),)
    **options
        Those of :func:`tripletmine.mine`. Random strategies draw anew in each :meth:`remine`: by
        ``seed`` and by how many there were before.

    Attributes
    ----------
    triplets : Triplets or None
        The triplets being served.

    Examples
    --------
    >>> import torch, tripletmine.torch
    >>> base = ["a", "b", "c"]
    >>> dataset = tripletmine.torch.TripletDataset(base, [0, 0, 1], neg_strategy="hard")
    >>> dataset.remine(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]))
    >>> [dataset[t] for t in range(len(dataset))]
    [('a', 'b', 'c'), ('b', 'a', 'c')]

    A training loop::

        for epoch in range(epochs):
            if epoch % 2 == 0:
                dataset.remine(embed(model, base))
            for anchor, positive, negative in DataLoader(dataset, shuffle=True, num_workers=2):
                ...
    """

    def __init__(self, base: Any, labels: Any, **options: Any) -> None:
        check_mine_options(options)
        self.base = base
        self.labels = labels
        self.options = options
        self.triplets: Triplets | None = None
        self._round = 0
        # Seen by every process that this dataset is sent to.
        self._latest_round = torch.zeros(1, dtype=torch.int64)
        self._latest_round.share_memory_()  # type: ignore[no-untyped-call]

    def __copy__(self) -> TripletDataset:
        """Return a dataset of the same triplets that is mined on its own."""
        copied = type(self).__new__(type(self))
        latest_round = self._latest_round.clone()
        latest_round.share_memory_()  # type: ignore[no-untyped-call]
        copied.__dict__.update({**self.__dict__, "_latest_round": latest_round})
        return copied

    def remine(self, embeddings: Tensor | np.typing.ArrayLike) -> None:
        """Replace the triplets by those mined from one embedding for each sample of the base."""
        samples = len(self.base) if hasattr(self.base, "__len__") else len(self.labels)
        if samples != len(self.labels):
            raise ValueError(
                f"labels: found {len(self.labels)} entries, expected {samples}, one for each sample"
            )
        options = options_of_round(self.options, self._round)
        self.triplets = tripletmine.mine(_on_cpu(embeddings), _on_cpu(self.labels), **options)
        self._round += 1
        self._latest_round[0] = self._round

    def __len__(self) -> int:
        """Return the number of triplets."""
        return 0 if self.triplets is None else len(self.triplets)

    def __getitem__(self, t: int) -> tuple[Any, Any, Any]:
        """Return the three samples of a triplet."""
        if self._latest_round.item() != self._round:
            raise RuntimeError(
                "the triplets were mined again after this DataLoader worker was started; make the "
                "DataLoader without persistent_workers"
            )
        if self.triplets is None:
            raise IndexError("found no triplets, expected a call of remine first")
        anchor, positive, negative = (int(column[t]) for column in self.triplets)
        return self.base[anchor], self.base[positive], self.base[negative]


def _are_columns(triplets: Any) -> TypeGuard[Sequence[Any]]:
    """Whether these are three index tensors, which a DataLoader hands over as a list."""
    if isinstance(triplets, list):
        if len(triplets) != 3 or not all(isinstance(column, Tensor) for column in triplets):
            return False
        if all(column.shape == (3,) for column in triplets):  # three triplets, or of three
            raise ValueError(
                "triplets: found a list of three tensors of three, expected a tuple of columns or "
                "one tensor of rows"
            )
        return True
    return isinstance(triplets, tuple)


def _on_cpu(value: Any) -> Any:
    """Return a tensor without its gradient and in this machine's memory; anything else as it is."""
    return value.detach().cpu() if isinstance(value, Tensor) else value
