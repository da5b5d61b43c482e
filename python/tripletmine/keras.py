"""For Keras: the triplet loss as a layer, triplets as a dataset, and mining between epochs.

Written with ``keras.ops`` alone, for whichever backend Keras runs on. keras is imported here and
nowhere else: ``import tripletmine.keras``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import tripletmine
from tripletmine import _arrays, _options
from tripletmine._mine import check_mine_options, options_of_round
from tripletmine._results import Triplets

__all__ = ["MineAgain", "TripletLossLayer", "TripletSequence"]


@keras.saving.register_keras_serializable(package="tripletmine")
class TripletLossLayer(keras.layers.Layer):
    """Add the mean of max(0, alpha + ‖a − p‖² − ‖a − n‖²) to the model's losses.

    Fed with ``[anchor, positive, negative]``, three tensors of shape (batch, d); returns the loss
    of each triplet, shape (batch,). The model is compiled without a loss of its own. Half precision
    is widened to float32 first.

    Parameters
    ----------
    alpha : float
        The margin, between squared Euclidean distances.
    **options
        Those of ``keras.layers.Layer``.

    References
    ----------
    Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and
    Clustering", 2015.

    Examples
    --------
    ::

        inputs = [keras.Input((d,)) for _ in range(3)]
        model = keras.Model(inputs, TripletLossLayer(alpha=0.1)([encoder(x) for x in inputs]))
        model.compile("adam")
        triplets = TripletSequence(x, labels, encoder.predict(x), neg_strategy="semihard")
        model.fit(triplets, epochs=10, callbacks=[MineAgain(encoder.predict, triplets, every=2)])
    """

    def __init__(self, alpha: float = 0.1, **options: Any) -> None:
        super().__init__(**{"autocast": False, **options})
        self.alpha = _options.loss_margin("alpha", alpha)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return the loss of each triplet, and add their mean to the losses."""
        shapes = [tuple(rows.shape) for rows in inputs]
        if len(shapes) != 3 or len(set(shapes)) > 1:
            raise ValueError(
                f"inputs: found shapes {shapes}, expected anchors, positives and negatives of one"
            )
        # Squares of half precision overflow, and their differences have few digits.
        anchor, positive, negative = (
            keras.ops.cast(rows, keras.backend.result_type(rows.dtype, "float32"))
            for rows in inputs
        )
        d_ap = keras.ops.sum(keras.ops.square(anchor - positive), axis=-1)
        d_an = keras.ops.sum(keras.ops.square(anchor - negative), axis=-1)
        losses = keras.ops.maximum(0.0, self.alpha + (d_ap - d_an))
        self.add_loss(keras.ops.mean(losses))
        return losses

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[Any, ...]:
        """Return one loss for each triplet."""
        return input_shape[0][:-1]

    def get_config(self) -> dict[str, Any]:
        """Return what the layer is made again from."""
        return {**super().get_config(), "alpha": self.alpha}


class TripletSequence(keras.utils.PyDataset):
    """Serve batches of mined triplets: ``([anchors, positives, negatives],)``.

    An epoch has as many triplets as there are rows, however many mining found: they are shuffled
    anew and served as often as it takes.

    Parameters
    ----------
    x : array_like, shape (n, ...)
        The samples.
    labels : array_like of int or str, shape (n,)
    embeddings : array_like of float, shape (n, d)
        What the first triplets are mined from: an embedding of each sample, or any other features.
    batch_size : int
    **options
        Those of :func:`tripletmine.mine`; ``seed`` is that of the order too. Random strategies draw
        anew each time.

    Attributes
    ----------
    triplets : Triplets
        The triplets being served.
    """

    def __init__(
        self,
        x: npt.ArrayLike,
        labels: npt.ArrayLike,
        embeddings: npt.ArrayLike,
        *,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        super().__init__()
        check_mine_options(options)
        self.x = np.asarray(x)
        _arrays.label_array("labels", labels, len(self.x))
        self.labels = labels
        self.batch_size = _options.integer("batch_size", batch_size, 1)
        self.options = options
        self.triplets: Triplets
        self._order: npt.NDArray[np.intp]
        seed = _options.integer("seed", options.get("seed", 0), 0, 2**64 - 1)
        self._random = np.random.default_rng(seed)
        self._round = 0
        self.remine(embeddings)

    def remine(self, embeddings: npt.ArrayLike) -> None:
        """Replace the triplets by those mined from one embedding for each sample."""
        options = options_of_round(self.options, self._round)
        mined = tripletmine.mine(embeddings, self.labels, **options)
        if not len(mined):
            raise ValueError(
                "embeddings: found no triplets to mine from them, expected some; allow a larger "
                "margin, a fallback or another strategy"
            )
        self.triplets = mined
        self._round += 1
        self._shuffle()

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self._shuffle()

    def _shuffle(self) -> None:
        passes = -(-len(self.x) // len(self.triplets))
        orders = [self._random.permutation(len(self.triplets)) for _ in range(passes)]
        self._order = np.concatenate(orders)[: len(self.x)]

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, batch: int) -> tuple[tuple[npt.NDArray[Any], ...]]:
        """Return the samples of a batch of triplets, as the one input of a model."""
        batch = range(len(self))[batch]  # IndexError beyond the last one
        chosen = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]
        return (tuple(self.x[column[chosen]] for column in self.triplets),)


class MineAgain(keras.callbacks.Callback):
    """Mine a :class:`TripletSequence` again before every k-th epoch but the first.

    Parameters
    ----------
    embed : callable
        From the sequence's samples to an embedding for each, for example ``encoder.predict``.
    triplets : TripletSequence
    every : int
        Epochs from one mining to the next.
    """

    def __init__(
        self,
        embed: Callable[[npt.NDArray[Any]], npt.ArrayLike],
        triplets: TripletSequence,
        *,
        every: int = 1,
    ) -> None:
        super().__init__()
        self.embed = embed
        self.triplets = triplets
        self.every = _options.integer("every", every, 1)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Mine, if this epoch's turn has come."""
        if epoch and epoch % self.every == 0:
            self.triplets.remine(self.embed(self.triplets.x))
