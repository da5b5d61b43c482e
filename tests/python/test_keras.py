"""``tripletmine.keras``: a model fitted on mined triplets, saved and loaded."""

import os
from importlib.util import find_spec

import numpy as np
import pytest

import tripletmine

if find_spec("keras") is None:
    pytest.skip("the adapter for Keras needs Keras", allow_module_level=True)
if find_spec("torch") is None:
    pytest.skip("the tests run Keras on PyTorch", allow_module_level=True)
with pytest.MonkeyPatch.context() as patch:
    patch.setitem(os.environ, "KERAS_BACKEND", "torch")
    import keras

    from tripletmine.keras import MineAgain, TripletLossLayer, TripletSequence

import torch

pytestmark = [
    pytest.mark.peers,
    # Keras on PyTorch, not ours: NumPy 2 asks torch.Tensor.__array__ for a keyword that it lacks.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def data(n=90, d=8):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = rng.normal(size=(n, d)).astype(np.float32)
    x[:, 0] += 2.0 * labels
    return x, labels


def models(d=8):
    """An encoder, and the model that trains it."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((d,)), keras.layers.Dense(4)])
    inputs = [keras.Input((d,)) for _ in range(3)]
    losses = TripletLossLayer(alpha=0.5)([encoder(x) for x in inputs])
    model = keras.Model(inputs, losses)
    model.compile(keras.optimizers.Adam(0.01))
    return encoder, model


def embed(encoder):
    return lambda x: encoder.predict(x, verbose=0)


def test_layer_computes_the_package_s_own_losses():
    x, labels = data()
    mined = tripletmine.mine(x, labels, neg_strategy="hard")
    layer = TripletLossLayer(alpha=0.5)
    losses = keras.ops.convert_to_numpy(layer([x[column] for column in mined]))
    options = {"margin": 0.5, "metric": "sqeuclidean"}
    truth = tripletmine.triplet_loss(x, mined, reduction="none", **options)
    np.testing.assert_allclose(losses, truth, rtol=1e-5, atol=1e-5)
    (added,) = layer.losses
    assert float(added) == pytest.approx(tripletmine.triplet_loss(x, mined, **options), rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_layer_computes_in_float32_at_least(policy):
    rows = np.full((1, 256), 20.0, np.float32)  # whose squared norm is beyond float16
    layer = TripletLossLayer(alpha=0.1, dtype=policy)
    (loss,) = keras.ops.convert_to_numpy(layer([0.0 * rows, rows, rows]))
    assert loss == pytest.approx(0.1, rel=1e-6)


def test_layer_refuses_what_are_not_three_of_one_shape():
    rows = np.ones((4, 3), np.float32)
    for inputs in ([rows, rows, rows[:1]], [rows, rows]):
        with pytest.raises(ValueError, match=r"found shapes \[.*expected anchors, positives and"):
            TripletLossLayer()(inputs)


def test_model_is_fitted_saved_and_loaded(tmp_path):
    x, labels = data()
    encoder, model = models()

    def recall():
        nearest, _ = tripletmine.nearest(embed(encoder)(x), metric="sqeuclidean")
        return (labels[nearest[:, 0]] == labels).mean()

    before = recall()
    triplets = TripletSequence(
        x, labels, embed(encoder)(x), neg_strategy="semihard", fallback="hard"
    )
    model.fit(
        triplets, epochs=8, verbose=0, callbacks=[MineAgain(embed(encoder), triplets, every=2)]
    )
    assert recall() > before

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    (layer,) = [layer for layer in loaded.layers if isinstance(layer, TripletLossLayer)]
    assert layer.alpha == 0.5
    batch = [x[column] for column in triplets.triplets]
    np.testing.assert_allclose(
        loaded.predict(batch, verbose=0), model.predict(batch, verbose=0), rtol=1e-6
    )
    assert model.predict(batch, verbose=0).shape == (len(triplets.triplets),)
    loaded.fit(triplets, epochs=1, verbose=0)  # the loss came along


@pytest.mark.parametrize(("every", "minings"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (9, [])])
def test_mines_again_every_k_epochs(every, minings):
    x, labels = data(30)
    _, model = models()
    triplets = TripletSequence(x, labels, x, neg_strategy="hard", batch_size=10)
    seen, at = [], []

    class Note(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            at.append(epoch)

    def embed_and_note(samples):
        seen.append(at[-1])
        return samples * [1.0, *[len(seen)] * 7]

    callbacks = [Note(), MineAgain(embed_and_note, triplets, every=every)]
    model.fit(triplets, epochs=7, verbose=0, callbacks=callbacks)
    assert seen == minings
    truth = tripletmine.mine(embed_and_note(x) if minings else x, labels, neg_strategy="hard")
    if not minings:
        assert triplets.triplets.as_array().tolist() == truth.as_array().tolist()


def test_each_mining_draws_anew():
    x, labels = data(60)
    drawn = []
    for _ in range(2):
        triplets = TripletSequence(x, labels, x, neg_strategy="random", seed=5)
        drawn.append([triplets.triplets.negatives.tolist()])
        for _ in range(2):
            triplets.remine(x)
            drawn[-1].append(triplets.triplets.negatives.tolist())
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1] != drawn[0][2] != drawn[0][0]
    assert (
        drawn[0][0] == tripletmine.mine(x, labels, neg_strategy="random", seed=5).negatives.tolist()
    )


def test_sequence_is_one():
    x, labels = data(50)
    triplets = TripletSequence(x.tolist(), torch.tensor(labels), torch.tensor(x), batch_size=16)
    assert [len(batch[0][0]) for batch in triplets] == [16, 16, 16, 2]
    np.testing.assert_array_equal(triplets[-1][0], triplets[3][0])
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            triplets[beyond]


@pytest.mark.parametrize("options", [{"neg_strategy": "hard"}, {"pos_strategy": "all"},
                                     {"margin": 0.01, "type_of_triplets": "hard",
                                      "neg_strategy": "hard"}])  # fmt: skip
def test_an_epoch_has_as_many_triplets_as_rows(options):
    x, labels = data(50)
    triplets = TripletSequence(x, labels, x, batch_size=16, **options)
    rows = {row.tobytes(): i for i, row in enumerate(x)}
    mined = set(map(tuple, triplets.triplets.as_array().tolist()))
    assert len(mined) != 50 or options == {"neg_strategy": "hard"}
    orders = []
    for _ in range(2):
        assert len(triplets) == 4
        batches = [triplets[b][0] for b in range(4)]
        assert isinstance(batches[0], tuple)  # TensorFlow takes a list for one tensor
        assert [len(batch[0]) for batch in batches] == [16, 16, 16, 2]
        order = [
            tuple(rows[sample.tobytes()] for sample in triplet)
            for batch in batches
            for triplet in zip(*batch, strict=True)
        ]
        assert set(order) <= mined
        assert len(set(order)) == min(50, len(mined))
        orders.append(order)
        triplets.on_epoch_end()
    assert orders[0] != orders[1]


def test_wrong_options_are_refused_at_once():
    x, labels = data(30)
    for call, kind, message in [
        (lambda: TripletLossLayer(alpha=-1.0), ValueError, "alpha: found -1.0"),
        (lambda: TripletSequence(x, labels, x, neg_strateg="hard"), TypeError, "neg_strateg: unkn"),
        (lambda: TripletSequence(x, labels, x, batch_size=0), ValueError, "batch_size: found 0"),
        (lambda: TripletSequence(x, labels[:3], x), ValueError, "labels: found 3 entries"),
        (lambda: TripletSequence(x, labels[:3], x[:3]), ValueError, "labels: .* expected 30, one"),
        (lambda: TripletSequence(x, labels, x, seed=-1), ValueError, "seed: found -1"),
        (lambda: TripletSequence(x, labels * 0, x), ValueError, "embeddings: found no triplets"),
        (lambda: MineAgain(None, None, every=0), ValueError, "every: found 0"),
    ]:
        with pytest.raises(kind, match=message):
            call()
