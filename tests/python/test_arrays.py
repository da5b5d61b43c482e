"""Every form in which rows and labels may come gives the answer of the plain one."""

import numpy as np
import pytest

import tripletmine
from oracle import assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 21)).astype(np.float32)
LABELS = RNG.integers(0, 7, size=90)
OPTIONS = {"pos_strategy": "hard", "neg_strategy": "hard"}
PLAIN = tripletmine.mine(X, LABELS, **OPTIONS)


def strided():
    wide = np.zeros((90, 2, 42), np.float32)
    wide[:, 1, ::2] = X
    return wide[:, 1, ::2]


def unaligned():
    raw = np.zeros(X.nbytes + 1, np.uint8)[1:]
    view = raw.view(np.float32).reshape(X.shape)
    view[:] = X
    assert not view.flags.aligned
    return view


def memory_mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


FORMS = {
    "Fortran order": lambda _: np.asfortranarray(X),
    "strided": lambda _: strided(),
    "reversed": lambda _: X[::-1, ::-1].copy()[::-1, ::-1],
    "big-endian": lambda _: X.astype(">f4"),
    "unaligned": lambda _: unaligned(),
    "nested lists": lambda _: X.tolist(),
    "memory-mapped": memory_mapped,
    "float64": lambda _: X.astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_rows(form, tmp_path):
    x = FORMS[form](tmp_path)
    assert_same(tripletmine.mine(x, LABELS, **OPTIONS), PLAIN)
    indices, distances = tripletmine.nearest(x, k=4)
    plain_indices, plain_distances = tripletmine.nearest(X, k=4)
    assert indices.tolist() == plain_indices.tolist()
    assert distances.tobytes() == plain_distances.tobytes()
    assert np.array_equal(tripletmine.pairwise_distances(x), tripletmine.pairwise_distances(X))


def test_rows_are_neither_changed_nor_needed_writable():
    x, labels = X.copy(), LABELS.copy()
    x.flags.writeable = labels.flags.writeable = False
    assert_same(tripletmine.mine(x, labels, groups=labels + 100, **OPTIONS), _no_positives())
    assert_same(tripletmine.mine(x, labels, **OPTIONS), PLAIN)
    assert np.array_equal(x, X)


def _no_positives():
    return tripletmine.reference.mine(X, LABELS, groups=LABELS, **OPTIONS)


def test_rows_are_read_in_place():
    """A view of more rows than memory holds is no obstacle: nothing copies it."""
    x = np.broadcast_to(np.float32(1.0), (4, 2**40 // 4))
    assert tripletmine._arrays.matrix("x", x) is x


class TestOtherLibraries:
    def test_float16_and_bfloat16(self):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        for dtype in (np.float16, ml_dtypes.bfloat16):
            x = X.astype(dtype)
            wide = x.astype(np.float32)
            assert_same(
                tripletmine.mine(x, LABELS, **OPTIONS), tripletmine.mine(wide, LABELS, **OPTIONS)
            )
            assert_same(
                tripletmine.mine(x.T.copy().T, LABELS, **OPTIONS),
                tripletmine.reference.mine(x, LABELS, **OPTIONS),
            )

    def test_every_float16_and_bfloat16_value(self):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        bits = np.arange(2**16, dtype=np.uint16)
        for dtype in (np.float16, ml_dtypes.bfloat16):
            values = bits.view(dtype)
            values = values[np.isfinite(bits.view(dtype).astype(np.float32))].reshape(-1, 8)
            wide = values.astype(np.float64)
            assert np.array_equal(
                tripletmine.nearest(values[:500], values, metric="sqeuclidean")[1],
                tripletmine.nearest(wide[:500], wide, metric="sqeuclidean")[1],
            )

    def test_pandas(self):
        pd = pytest.importorskip("pandas")
        frame, series = pd.DataFrame(X), pd.Series(LABELS)
        assert_same(tripletmine.mine(frame, series, **OPTIONS), PLAIN)
        names = pd.Series([f"class {label}" for label in LABELS])
        for kind in ("object", "category", "string"):
            assert_same(tripletmine.mine(X, names.astype(kind), **OPTIONS), PLAIN)

    @pytest.mark.peers
    def test_torch(self):
        torch = pytest.importorskip("torch")
        tensor = torch.from_numpy(X.copy()).requires_grad_()
        labels = torch.from_numpy(LABELS)
        assert_same(tripletmine.mine(tensor, labels, **OPTIONS), PLAIN)
        assert tripletmine._arrays.matrix("x", tensor).ctypes.data == tensor.data_ptr()
        half = tensor.to(torch.bfloat16)
        assert tripletmine._arrays.matrix("x", half).ctypes.data == half.data_ptr()
        assert_same(
            tripletmine.mine(half, labels, **OPTIONS),
            tripletmine.mine(half.float(), labels, **OPTIONS),
        )

    def test_dlpack_alone(self):
        class Exporter:
            def __dlpack__(self, **options):
                return X.__dlpack__(**options)

            def __dlpack_device__(self):
                return X.__dlpack_device__()

        assert_same(tripletmine.mine(Exporter(), LABELS, **OPTIONS), PLAIN)

    def test_what_is_not_in_memory_is_refused(self):
        class OnAnotherDevice:
            def __array__(self, dtype=None, copy=None):
                raise TypeError("can't convert device tensor to numpy")

        with pytest.raises(TypeError, match="embeddings: found OnAnotherDevice, expected an array"):
            tripletmine.mine(OnAnotherDevice(), LABELS)


NAMES = [f"class {label}" for label in LABELS]


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            LABELS.astype(np.int8),
            LABELS.astype(np.uint64),
            LABELS.astype(">i4"),
            LABELS.tolist(),
            -LABELS,
            LABELS * 2**55,
            NAMES,
            np.array(NAMES, object),
            np.array(NAMES).astype("S"),
            np.repeat(LABELS, 2)[::2],
        ],
        ids=lambda labels: type(labels).__name__ + str(getattr(labels, "dtype", "")),
    )
    def test_kinds(self, labels):
        assert_same(tripletmine.mine(X, labels, **OPTIONS), PLAIN)

    def test_booleans(self):
        odd = LABELS % 2
        assert_same(tripletmine.mine(X, odd == 1, **OPTIONS), tripletmine.mine(X, odd, **OPTIONS))

    def test_strings_on_both_sides_share_one_numbering(self):
        y, other = X[::-1], np.roll(LABELS, 3) + 2
        ours = tripletmine.mine(
            X, NAMES, y, [f"class {label}" for label in other], **OPTIONS,
            groups=list("ab") * 45, ref_groups=list("bcd") * 30,
        )  # fmt: skip
        truth = tripletmine.reference.mine(
            X, LABELS, y, other, **OPTIONS, groups=[0, 1] * 45, ref_groups=[1, 2, 3] * 30
        )
        assert_same(ours, truth)

    def test_empty_anchors(self):
        for anchors in ([], slice(0, 0), np.array([], int)):
            mined = tripletmine.mine(X, LABELS, anchors=anchors, **OPTIONS)
            assert len(mined) == 0
            assert mined.report.anchors == 0
