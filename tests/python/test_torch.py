"""``tripletmine.torch``, used as it is meant to be: in training loops, losses and data loaders."""

import copy
import pickle

import numpy as np
import pytest

import tripletmine
from oracle import METRICS

torch = pytest.importorskip("torch", reason="the adapter for PyTorch needs PyTorch")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from tripletmine.torch import TripletDataset, TripletLoss, TripletMiner  # noqa: E402

pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
X = torch.tensor(RNG.normal(size=(60, 8)), dtype=torch.float32)
LABELS = torch.tensor(RNG.integers(0, 5, size=60))


# -------------------------------------------------------------------------------------------- miner


@pytest.mark.parametrize("options", [{}, {"pos_strategy": "all", "fallback": "easy"}])
def test_miner_returns_what_mine_does(options):
    miner = TripletMiner(**options)
    mined = tripletmine.mine(X.numpy(), LABELS.numpy(), **options)
    for ours, truth in zip(miner(X, LABELS), mined, strict=True):
        assert ours.dtype == torch.int64
        assert ours.tolist() == truth.tolist()
    assert miner.report.triplets == len(mined)


def test_miner_takes_references_gradients_and_bfloat16():
    reference, ref_labels = X[:20] + 0.1, LABELS[:20]
    ours = TripletMiner(neg_strategy="hard")(X, LABELS, reference, ref_labels)
    truth = tripletmine.mine(X, LABELS, reference, ref_labels, neg_strategy="hard")
    assert [column.tolist() for column in ours] == [column.tolist() for column in truth]
    live = X.clone().requires_grad_()
    assert not any(column.requires_grad for column in TripletMiner()(live * 2, LABELS))
    half = X.to(torch.bfloat16)
    truth = tripletmine.mine(half.float(), LABELS)
    assert TripletMiner()(half, LABELS)[2].tolist() == truth.negatives.tolist()


def test_miner_refuses_unknown_options_at_once():
    with pytest.raises(
        TypeError, match="neg_strateg: unknown option, expected one of pos_strategy"
    ):
        TripletMiner(neg_strateg="hard")
    with pytest.raises(TypeError, match="ref_emb: unknown option"):
        TripletDataset([], [], ref_emb=X)
    assert repr(TripletMiner(neg_strategy="hard")) == "TripletMiner(neg_strategy='hard')"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"margin": -1}, ValueError, "margin: found -1"),
        ({"metric": "cosin"}, ValueError, "metric: found 'cosin'"),
        ({"num_negatives": "two"}, TypeError, "num_negatives: found 'two'"),
        ({"type_of_triplets": "semihard"}, ValueError, "type_of_triplets: found 'semihard' with"),
    ],
)
def test_options_of_wrong_values_are_refused_at_once(options, error, message):
    for refuses in (TripletMiner, lambda **options: TripletDataset([], [], **options)):
        with pytest.raises(error, match=message):
            refuses(**options)


def test_options_about_rows_wait_for_them():
    truth = tripletmine.mine(X, LABELS, anchors=[3, 5], groups=np.arange(len(X)))
    miner = TripletMiner(anchors=[3, 5], groups=np.arange(len(X)))
    assert [column.tolist() for column in miner(X, LABELS)] == [c.tolist() for c in truth]


def test_a_loss_of_pytorch_metric_learning_takes_the_miner():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    live = X.clone().requires_grad_()
    miner = TripletMiner(pos_strategy="hard", neg_strategy="hard", metric="euclidean")
    theirs = losses.TripletMarginLoss(margin=0.2)(live, LABELS, miner(live, LABELS))
    theirs.backward()
    assert theirs.item() > 0
    assert live.grad.abs().sum() > 0
    # Their loss on the triplets (of rows scaled to norm 1) is ours, and so is the gradient.
    unit = X.clone().requires_grad_()
    rows = torch.nn.functional.normalize(unit)
    each = TripletLoss(margin=0.2, metric="euclidean", reduction="none")(rows, miner(live, LABELS))
    ours = each[each > 0].mean()
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)
    torch.testing.assert_close(unit.grad, live.grad, rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_loss_passes_gradcheck(metric, reduction):
    x = torch.tensor(RNG.normal(size=(9, 4)), requires_grad=True)
    triplets = torch.tensor(RNG.integers(0, 9, size=(30, 3)))
    loss = TripletLoss(margin=0.7, metric=metric, reduction=reduction)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, triplets), [x])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_is_the_package_s_own(dtype, reduction):
    x = X.to(dtype, copy=True).requires_grad_()
    triplets = tripletmine.mine(x, LABELS, neg_strategy="hard")
    truth = tripletmine.triplet_loss(x, triplets, margin=0.4, reduction=reduction, grad=True)
    for form in (triplets, tuple(map(torch.tensor, triplets)), torch.tensor(triplets.as_array())):
        x.grad = None
        loss = TripletLoss(0.4, reduction=reduction)(x, form)
        loss.backward()
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert loss.item() == pytest.approx(truth[0], rel=1e-7)
        torch.testing.assert_close(x.grad, torch.from_numpy(truth[1]).to(dtype))


def test_loss_scales_with_the_incoming_gradient():
    triplets = RNG.integers(0, 60, size=(50, 3))
    gradients = []
    for factor in (1.0, -3.0):
        x = X.to(torch.float64, copy=True).requires_grad_()
        (factor * TripletLoss()(x, triplets)).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], -3.0 * gradients[0])


def test_the_gradient_is_that_of_the_triplets_given():
    """Whatever becomes of their tensor before the backward pass."""
    triplets = torch.from_numpy(RNG.integers(0, 60, size=(50, 3)))
    gradients = []
    for change in (False, True):
        x = X.to(torch.float64, copy=True).requires_grad_()
        given = triplets.clone()
        loss = TripletLoss()(x, given)
        if change:
            given.zero_()
        loss.backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    "change",
    [{"margin": 3.0}, {"metric": "cosine"}, {"reduction": "sum"}],
    ids=lambda c: next(iter(c)),
)
def test_the_gradient_is_that_of_the_options_of_the_call(change):
    """Whatever the module is set to before the backward pass."""
    triplets = RNG.integers(0, 60, size=(50, 3))
    gradients = []
    for changed in ({}, change):
        x = X.to(torch.float64, copy=True).requires_grad_()
        module = TripletLoss(0.1)
        loss = module(x, triplets)
        for name, value in changed.items():
            setattr(module, name, value)
        loss.backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.0, atol=0.0)


def test_three_index_tensors_may_be_a_list():
    """A ``DataLoader`` makes lists of tuples. Three of three might as well be rows."""
    columns = [torch.tensor([0, 1]), torch.tensor([3, 4]), torch.tensor([6, 7])]
    loss = TripletLoss(reduction="none")
    torch.testing.assert_close(loss(X, columns), loss(X, tuple(columns)), rtol=0.0, atol=0.0)
    with pytest.raises(ValueError, match="triplets: found a list of three tensors of three"):
        loss(X, [torch.tensor([0, 1, 2])] * 3)


@pytest.mark.parametrize("factor", [float("inf"), float("nan")])
def test_a_factor_that_is_not_finite_makes_the_gradient_nan(factor):
    """``GradScaler`` looks for it; an error would end the training."""
    x = X.clone().requires_grad_()
    (TripletLoss()(x, RNG.integers(0, 60, size=(50, 3))) * factor).backward()
    assert x.grad.isnan().all()


def test_loss_of_no_triplets():
    x = X.clone().requires_grad_()
    loss = TripletLoss()(x, torch.empty((0, 3), dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert not x.grad.any()


def test_loss_refuses_wrong_options_at_once():
    for options, message in [
        ({"margin": -1.0}, "margin: found -1.0"),
        ({"metric": "l2"}, "metric: found 'l2'"),
        ({"reduction": "max"}, "reduction: found 'max'"),
        ({"n_threads": 0}, "n_threads: found 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            TripletLoss(**options)
    assert repr(TripletLoss()) == (
        "TripletLoss(margin=0.1, metric='sqeuclidean', reduction='mean')"
    )


def test_twice_differentiated_is_refused_rather_than_wrong():
    x = X.clone().requires_grad_()
    squared = TripletLoss(margin=5.0)(x, [[0, 1, 2]]) ** 2
    (gradient,) = torch.autograd.grad(squared, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_gradient_beyond_float32_is_infinite_as_autograd_makes_it():
    """A loss may be scaled by anything, which GradScaler finds out so."""
    x = (100.0 * X).requires_grad_()
    triplets = torch.tensor([[0, 1, 2], [3, 4, 5]])
    (TripletLoss(margin=1e6)(x, triplets) * 3e38).backward()
    own = x.grad.clone()
    x.grad = None
    a, p, n = (x[column] for column in triplets.T)
    native = (1e6 + (a - p).square().sum(1) - (a - n).square().sum(1)).relu().mean()
    (native * 3e38).backward()
    assert torch.isinf(own).any()
    assert torch.equal(torch.isfinite(own), torch.isfinite(x.grad))


def test_a_huge_weight_takes_no_digits_from_others():
    x = X.clone().requires_grad_()
    weights = torch.ones(20)
    weights[0] = 1e38
    triplets = torch.arange(60).reshape(20, 3)
    TripletLoss(margin=50.0, reduction="none")(x, triplets).backward(weights)
    own = x.grad.clone()
    x.grad = None
    TripletLoss(margin=50.0, reduction="sum")(x, triplets[1:]).backward()
    assert torch.equal(own[3:], x.grad[3:])


def test_loss_checks_embeddings_first():
    with pytest.raises(ValueError, match=r"embeddings: found an array of shape \(8,\)"):
        TripletLoss()(X[0], torch.tensor([[0, 1, 99]]))


# ------------------------------------------------------------------------------------------ dataset


def test_a_dataset_draws_anew_each_time():
    drawn = []
    for _ in range(2):
        dataset = TripletDataset(range(60), LABELS, pos_strategy="random", neg_strategy="random")
        drawn.append([])
        for _ in range(3):
            dataset.remine(X)
            drawn[-1].append(dataset.triplets.as_array().tolist())
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1] != drawn[0][2] != drawn[0][0]
    truth = tripletmine.mine(X, LABELS, pos_strategy="random", neg_strategy="random")
    assert drawn[0][0] == truth.as_array().tolist()


def dataset(**options):
    return TripletDataset(TensorDataset(torch.arange(60)), LABELS, **options)


def served(loader):
    return [[row.item() for (row,) in batch] for batch in loader]


def test_dataset_serves_the_triplets_of_the_last_mining():
    triplets = dataset(neg_strategy="hard")
    assert len(triplets) == 0
    with pytest.raises(IndexError, match="expected a call of remine first"):
        triplets[0]
    for embeddings in (X, X.flip(1) ** 2, X.numpy()):
        triplets.remine(embeddings)
        truth = tripletmine.mine(embeddings, LABELS, neg_strategy="hard").as_array()
        assert len(triplets) == len(truth)
        loader = DataLoader(triplets, batch_size=None)
        assert served(loader) == truth.tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_dataset_in_two_workers(method):
    triplets = dataset(neg_strategy="hard")
    loader = DataLoader(
        triplets, batch_size=None, num_workers=2, multiprocessing_context=method, timeout=120
    )
    for embeddings in (X, X.flip(1) ** 2):
        triplets.remine(embeddings)
        truth = tripletmine.mine(embeddings, LABELS, neg_strategy="hard").as_array()
        assert served(loader) == truth.tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_outlive_a_mining_do_not_serve_old_triplets(method):
    triplets = dataset(neg_strategy="hard")
    triplets.remine(X)
    loader = DataLoader(
        triplets, batch_size=None, num_workers=2, persistent_workers=True,
        multiprocessing_context=method, timeout=120,
    )  # fmt: skip
    assert len(served(loader)) == len(triplets)
    triplets.remine(X.flip(1) ** 2)
    with pytest.raises(RuntimeError, match="without persistent_workers"):
        served(loader)


def test_dataset_refuses_labels_of_another_length():
    dataset = TripletDataset(list("abcdef"), [0, 0, 1, 1], neg_strategy="hard")
    with pytest.raises(ValueError, match="labels: found 4 entries, expected 6, one for each sam"):
        dataset.remine(X[:4])


def test_dataset_can_be_pickled_and_copied():
    triplets = dataset()
    triplets.remine(X)
    for twin in (pickle.loads(pickle.dumps(triplets)), copy.deepcopy(triplets)):
        assert len(twin) == len(triplets)
        assert twin[0] == triplets[0]
        twin.remine(-X)


def test_a_training_loop_with_two_workers_learns():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(120) % 4
    x = torch.randn(120, 10, generator=generator)
    x[:, 0] += 1.5 * torch.tensor(labels)
    model = torch.nn.Linear(10, 3)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    triplets = TripletDataset(TensorDataset(x), labels, neg_strategy="semihard", fallback="hard")
    loss_of = torch.nn.TripletMarginLoss(margin=0.5)

    def recall():
        nearest, _ = tripletmine.nearest(model(x), metric="euclidean")
        return (labels[nearest[:, 0]] == labels).mean()

    before = recall()
    for _ in range(4):
        with torch.no_grad():
            triplets.remine(model(x))
        loader = DataLoader(
            triplets, batch_size=30, shuffle=True, num_workers=2, generator=generator, timeout=120
        )
        for (anchor,), (positive,), (negative,) in loader:
            optimiser.zero_grad()
            loss_of(model(anchor), model(positive), model(negative)).backward()
            optimiser.step()
    assert recall() > before + 0.1


def test_a_training_loop_over_the_whole_set_learns():
    torch.manual_seed(0)
    x, labels = X + LABELS[:, None] * torch.linspace(0, 1, 8), LABELS
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    miner, loss_of = TripletMiner(metric="sqeuclidean", neg_strategy="hard"), TripletLoss(0.5)
    losses = []
    for _ in range(40):
        y = model(x)
        loss = loss_of(y, miner(y, labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_a_copy_is_mined_alone():
    dataset = TripletDataset(range(60), LABELS)
    dataset.remine(X)
    before = dataset[0]
    for copied in (copy.copy(dataset), copy.deepcopy(dataset)):
        copied.remine(-X)
        copied.remine(X)
        assert dataset[0] == copied[0] == before
