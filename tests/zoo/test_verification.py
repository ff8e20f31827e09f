import numpy as np
import pytest
from PIL import Image

from akida_jax.zoo.verification import (
    best_threshold,
    cosine_scores,
    load_lfw,
    make_pairs,
    read_pairs,
    verify,
)


def test_cosines_by_hand():
    a = np.array([[3.0, 4.0], [1.0, 0.0], [1.0, 0.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    b = np.array([[4.0, 3.0], [0.0, 7.0], [-5.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    # 24 / 25, a right angle, opposite, 45 degrees; zeros are defined to have the cosine 0.
    # A product of two and a root of two in float64 round by less than 1e-15 together.
    expected = [0.96, 0.0, -1.0, np.sqrt(0.5), 0.0, 0.0]
    np.testing.assert_allclose(cosine_scores(a, b), expected, rtol=0, atol=1e-15)


def test_cosines_do_not_depend_on_lengths(rng):
    a, b = rng.normal(size=(2, 20, 8))
    # Each of the 8 products and sums rounds once, by 2**-53; twenty such roundings.
    np.testing.assert_allclose(
        cosine_scores(a * 1e200, b * 1e-200), cosine_scores(a, b), atol=20 * 2**-53, rtol=0
    )
    assert cosine_scores(a, a) == pytest.approx(1, abs=20 * 2**-53)
    assert np.abs(cosine_scores(a, a)).max() <= 1


def test_bad_embeddings_are_refused():
    a = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"one shape \(pairs, d\), got \(3, 2\) and \(2, 2\)"):
        cosine_scores(a, a[:2])
    with pytest.raises(ValueError, match="second embedding of pair 1 is not finite"):
        cosine_scores(a, np.array([[1, 1], [np.nan, 1], [1, 1]]))
    with pytest.raises(ValueError, match="first embedding of pair 2 is not finite"):
        cosine_scores(np.array([[1, 1], [1, 1], [np.inf, 1]]), a)


def test_best_threshold_by_hand():
    scores = np.array([0.1, 0.4, 0.3, 0.8])
    # Above 0.1 and below 0.3 only nothing is wrong.
    assert best_threshold(scores, np.array([False, True, True, True])) == pytest.approx(0.2)
    assert best_threshold(scores, np.array([False, True, False, True])) == pytest.approx(0.35)
    # Accept all; accept none.
    assert best_threshold(scores, np.ones(4, bool)) == pytest.approx(-0.9)
    assert best_threshold(scores, np.zeros(4, bool)) == pytest.approx(1.8)


def test_best_threshold_agrees_with_trying_all(rng):
    scores = rng.integers(0, 12, 60) / 12
    same = rng.random(60) < scores
    levels = np.unique(scores)
    tried = [((scores >= edge) == same).sum() for edge in [*levels, 2.0]]
    chosen = ((scores >= best_threshold(scores, same)) == same).sum()
    assert chosen == max(tried)


def test_two_folds_by_hand():
    scores = np.array([0.9, 0.7, 0.2, 0.6, 0.8, 0.5, 0.4, 0.1])
    same = np.array([True, True, False, False] * 2)
    result = verify(scores, same, folds=2)
    # The second fold is best split at 0.45, which errs once in the first; the first at 0.65,
    # which errs once in the second.
    assert result.thresholds == pytest.approx((0.45, 0.65))
    assert result.fold_accuracies == (0.75, 0.75)
    assert result.accuracy == 0.75
    assert result.standard_error == 0.0
    # Of 16 comparisons of a true with a false pair, only 0.5 against 0.6 is wrong.
    assert result.auroc == pytest.approx(15 / 16)
    # From (0, 3/4) the curve goes to (1/4, 3/4): there both kinds of error are 1/4.
    assert result.equal_error_rate == pytest.approx(0.25)


def test_standard_error_by_hand():
    # Thresholds: 0.5 by the other folds each time; the last fold is the wrong way round.
    scores = np.array([0.9, 0.1, 0.9, 0.1, 0.1, 0.9])
    same = np.array([True, False] * 3)
    result = verify(scores, same, folds=3)
    # Fold 3 is 0 right. For folds 1 and 2 all thresholds are right for two of four others, the
    # lowest accepts all and is right for half.
    assert result.fold_accuracies == (0.5, 0.5, 0.0)
    # Deviations 1/6, 1/6, -1/3: variance (1/36 + 1/36 + 4/36) / 2 = 1/12, over 3 folds 1/36.
    assert result.standard_error == pytest.approx(1 / 6)


def test_folds_may_be_named():
    scores = np.array([0.9, 0.9, 0.1, 0.1])
    same = np.array([True, True, False, False])
    result = verify(scores, same, folds=np.array([3, 7, 3, 7]))
    assert result.accuracy == 1.0
    assert result.auroc == 1.0
    assert result.equal_error_rate == 0.0


def test_chance_is_a_half():
    result = verify(np.zeros(40), np.tile([True, False], 20), folds=10)
    assert result.accuracy == result.auroc == result.equal_error_rate == 0.5


@pytest.mark.parametrize(
    ("scores", "same", "folds", "message"),
    [
        ([1, 2], [True], 2, r"scores and same must be \(pairs,\)"),
        ([1, 2], [1, 0], 2, "same of bool"),
        ([1, np.nan], [True, False], 2, "score of pair 1 is not finite"),
        ([1, 2, 3], [True, False, True], 2, "3 pairs must split into 2 or more equal folds, got 2"),
        ([1, 2], [True, False], 1, "2 pairs must split into 2 or more equal folds, got 1"),
        ([1, 2], [True, False], np.zeros(2, int), "2 or more folds for each of 2 pairs"),
        ([1, 2, 3, 4], [True, True, False, True], 2, "fold 0 must hold .* it has only one"),
        ([1, 2, 3, 4], [False, False, False, True], 2, "fold 0 must hold .* it has only two"),
    ],
)
def test_bad_scores_are_refused(scores, same, folds, message):
    with pytest.raises(ValueError, match=message):
        verify(np.array(scores, float), np.array(same), folds)


def test_pairs_in_folds_that_share_no_person():
    labels = np.repeat(np.arange(8), 5)
    pairs = make_pairs(labels, seed=3, folds=4)
    # Two people in a fold: 2 x (5 over 2) = 20 pairs of one, of 25 of two as many.
    assert np.bincount(pairs.fold).tolist() == [40] * 4
    assert np.bincount(pairs.fold, weights=pairs.same).tolist() == [20] * 4
    assert (labels[pairs.first] == labels[pairs.second]).tolist() == pairs.same.tolist()
    assert len(set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))) == 160
    for person in range(8):
        of_person = (labels[pairs.first] == person) | (labels[pairs.second] == person)
        assert len(set(pairs.fold[of_person].tolist())) == 1
    again = make_pairs(labels, seed=3, folds=4)
    np.testing.assert_array_equal(again.second, pairs.second)
    assert (make_pairs(labels, seed=4, folds=4).second != pairs.second).any()


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        ([0, 0, 1, 1, 2, 2], 2, "folds must be 2 to 1, with two of the 3 people in each, got 2"),
        ([0, 0, 1, 1, 2, 2, 3, 3], 1, "folds must be 2 to 2, with two of the 4 people"),
        ([0, 1, 2, 3, 3], 2, "2 folds: one has no pair of images of one person; every person"),
    ],
)
def test_folds_that_cannot_be_filled_are_refused(labels, folds, message):
    with pytest.raises(ValueError, match=message):
        make_pairs(np.array(labels), folds=folds)


LINES = ["2\t1", "Ann_B\t1\t2", "Ann_B\t1\tCy_D\t3", "Cy_D\t3\t1", "Ann_B\t2\tCy_D\t1"]


def test_list_of_pairs(tmp_path):
    (tmp_path / "pairs.txt").write_text("\n".join(LINES) + "\n")
    assert read_pairs(tmp_path / "pairs.txt") == [
        (("Ann_B", 1), ("Ann_B", 2), 0),
        (("Ann_B", 1), ("Cy_D", 3), 0),
        (("Cy_D", 3), ("Cy_D", 1), 1),
        (("Ann_B", 2), ("Cy_D", 1), 1),
    ]


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (0, "10", "line 1: needs the numbers of folds and of pairs"),
        (0, "0\t5", "line 1: needs the numbers of folds and of pairs"),
        (0, "10\t300", r"10 folds of 300 \+ 300 pairs need 6000 lines, got 4"),
        (1, "Ann_B\t1", "line 2: needs name, number, number"),
        (1, "Ann_B\t1\tCy_D\t3", "line 2: needs name, number, number"),
        (2, "Ann_B\t1\tAnn_B\t3", "line 3: needs name, number, another name, number"),
        (2, "Ann_B\t1\t2", "line 3: needs name, number, another name, number"),
        (3, "Cy_D\tx\t1", "line 4: needs name, number, number"),
        (3, "../Cy_D\t1\t2", "line 4: needs name, number, number"),
        (3, "", "line 4: needs name, number, number"),
    ],
)
def test_a_bad_list_of_pairs_is_refused(tmp_path, line, text, message):
    lines = LINES.copy()
    lines[line] = text
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"pairs.txt.*{message}"):
        read_pairs(tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="must be UTF-8 text, but byte 0 is none"):
        read_pairs(tmp_path / "pairs.txt")


def test_lfw_folder(tmp_path):
    (tmp_path / "pairs.txt").write_text("\n".join(LINES) + "\n")
    for name, number, grey in (("Ann_B", 1, 10), ("Ann_B", 2, 60), ("Cy_D", 1, 110)):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (250, 250), (grey, grey, grey)).save(
            tmp_path / name / f"{name}_{number:04d}.jpg"
        )
    with pytest.raises(FileNotFoundError, match=r"pairs.txt names Cy_D_0003.jpg, but there is no"):
        load_lfw(tmp_path)
    Image.new("RGB", (250, 250), (200, 200, 200)).save(tmp_path / "Cy_D" / "Cy_D_0003.jpg")
    faces, pairs = load_lfw(tmp_path)
    assert len(faces) == 4
    assert faces.names == ("Ann_B", "Cy_D")
    assert faces.labels.tolist() == [0, 0, 1, 1]
    # Black, dark, mid and light grey survive JPEG to within a level.
    assert [round(float(faces[i][0].mean()), -1) for i in range(4)] == [10, 60, 110, 200]
    assert pairs.first.tolist() == [0, 0, 3, 1]
    assert pairs.second.tolist() == [1, 3, 2, 2]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]


def test_missing_lfw_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'lfw': no .*pairs.txt.*Labeled Faces in the Wil"):
        load_lfw(tmp_path)
