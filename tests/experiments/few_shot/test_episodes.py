"""Episodes: what is drawn, and that learning them together is learning each alone."""

import dataclasses

import numpy as np
import pytest
import sklearn.linear_model

import akida_jax as aj
from akida_jax.learning import LearningSettings
from experiments.few_shot import baselines, episodes
from experiments.few_shot.episodes import Episodes, Pool

WAYS, EACH, INPUTS = 3, 8, 70


@pytest.fixture
def pool(rng):
    """Three noisy patterns, eight samples of each."""
    patterns = rng.random((WAYS, INPUTS)) < 0.3
    labels = np.repeat(np.arange(WAYS, dtype=np.int32), EACH)
    noise = rng.random((len(labels), INPUTS)) < 0.2
    everything = np.ones(len(labels), bool)
    return Pool((patterns[labels] ^ noise).astype(np.uint8), labels, everything, everything)


def settings(**changes):
    given = {"num_weights": 20, "num_classes": WAYS, "neurons_per_class": 2, **changes}
    return LearningSettings(**given)


def test_an_episode_asks_for_what_it_has_not_learned(pool):
    drawn = episodes.draw(pool, shots=3, queries=5, episodes=20, seed=1)
    assert (drawn.support.shape, drawn.query.shape) == ((20, WAYS, 3), (20, WAYS, 5))
    for support, query in zip(drawn.support, drawn.query, strict=True):
        for label in range(WAYS):
            mine = {*support[label].tolist(), *query[label].tolist()}
            assert len(mine) == EACH
            assert {int(pool.labels[i]) for i in mine} == {label}
    again = episodes.draw(pool, shots=3, queries=5, episodes=20, seed=1)
    np.testing.assert_array_equal(drawn.support, again.support)
    assert (episodes.draw(pool, shots=3, queries=5, episodes=20, seed=2).query != drawn.query).any()
    for part, whole in zip(drawn.first(4), drawn, strict=True):
        np.testing.assert_array_equal(part, whole[:4], strict=True)


def test_sides_that_are_apart_stay_apart(pool):
    first = np.arange(len(pool.labels)) % 2 == 0
    apart = Pool(pool.spikes, pool.labels, first, ~first)
    drawn = episodes.draw(apart, shots=4, queries=4, episodes=5, seed=0)
    assert first[drawn.support].all()
    assert not first[drawn.query].any()
    message = "class 0 has 4 samples to learn and 4 others, .* needs 5 and 4; choose fewer --shots"
    with pytest.raises(ValueError, match=message):
        episodes.draw(apart, shots=5, queries=4, episodes=5, seed=0)
    assert episodes.draw_all(apart, queries=4, episodes=2, seed=0).shots == 4


def test_too_few_samples_are_refused(pool):
    with pytest.raises(ValueError, match=r"has 8 samples to learn and 4 others, .* needs 4 and 5"):
        episodes.draw(pool, shots=4, queries=5, episodes=1, seed=0)
    assert episodes.draw_all(pool, queries=3, episodes=2, seed=0).shots == EACH - 3


def test_learners_have_seeds_of_their_own(pool):
    drawn = episodes.draw(pool, shots=1, queries=1, episodes=300, seed=0)
    assert len(set(drawn.seeds.tolist())) == 300


def test_answers_do_not_depend_on_the_pieces(pool):
    """Learners have their seeds from the draw, wherever pieces begin."""
    drawn = episodes.draw(pool, shots=3, queries=4, episodes=5, seed=0)
    answers, swaps = episodes.learn_episodes(pool, drawn, settings())
    for size in (1, 2, 3):
        found, moved = episodes.learn_episodes(pool, drawn, settings(), piece_size=size)
        np.testing.assert_array_equal(found, answers, strict=True)
        assert moved == swaps


def test_learning_together_is_learning_each_alone(pool):
    drawn = episodes.draw(pool, shots=3, queries=4, episodes=5, seed=0)
    answers, swaps = episodes.learn_episodes(pool, drawn, settings())
    moved = 0
    for i, (support, query, seed) in enumerate(zip(*drawn, strict=True)):
        learner = aj.EdgeLearner(**dataclasses.asdict(settings()), seed=int(seed))
        learner.fit(pool.spikes[:0])
        for turn in range(3):
            for label in range(WAYS):
                before = learner.weights
                learner.fit(pool.spikes[support[label, turn]][None], [label])
                moved += int(((learner.weights == 1) & (before == 0)).sum())
        expected = learner.predict_classes(pool.spikes[query.reshape(-1)])
        np.testing.assert_array_equal(answers[i].reshape(-1), expected)
    assert swaps == moved / drawn.support.size


def test_neurons_that_never_learned_answer_nothing(pool):
    """A sample for nine neurons of a class leaves eight with their drawn weights."""
    drawn = episodes.draw(pool, shots=1, queries=7, episodes=6, seed=0)
    answers, _ = episodes.learn_episodes(pool, drawn, settings(neurons_per_class=9))
    for i, (support, query, seed) in enumerate(zip(*drawn, strict=True)):
        given = dataclasses.asdict(settings(neurons_per_class=9))
        learner = aj.EdgeLearner(**given, seed=int(seed))
        learner.fit(pool.spikes[support.reshape(-1)], range(WAYS))
        used = learner.statistics().used
        potentials = pool.spikes[query.reshape(-1)].astype(int) @ learner.weights[used].T
        np.testing.assert_array_equal(answers[i].reshape(-1), potentials.argmax(1))


def test_a_silent_sample_is_of_no_class(pool):
    spikes = pool.spikes.copy()
    spikes[0] = 0
    silent = Pool(spikes, pool.labels, pool.labels > 0, pool.query)
    support = np.array([[[1], [EACH], [2 * EACH]]])
    query = np.array([[[0], [EACH], [2 * EACH]]])
    seeds = np.zeros(1, np.uint32)
    answers, _ = episodes.learn_episodes(silent, Episodes(support, query, seeds), settings())
    assert answers.tolist() == [[[-1], [1], [2]]]


def test_mean_and_interval():
    values = np.array([0.5, 0.75, 1.0, 0.75])
    # Standard deviation sqrt(0.125 / 3), standard error half of it.
    assert episodes.summarize(values) == {"mean": 75.0, "interval": 20.0}
    assert episodes.summarize(np.array([0.25])) == {"mean": 25.0, "interval": 0.0}


def test_share_of_right_answers(pool):
    drawn = episodes.draw(pool, shots=1, queries=2, episodes=2, seed=0)
    answers = np.array([[[0, 0], [1, 0], [0, 2]], [[0, 0], [1, 1], [2, 2]]])
    np.testing.assert_array_equal(episodes.accuracies(pool, drawn, answers), [4 / 6, 1.0])


def _sides(pool, drawn, i):
    labels = np.repeat(np.arange(WAYS), drawn.shots)
    return (
        pool.spikes[drawn.support[i].reshape(-1)],
        labels,
        pool.spikes[drawn.query[i].reshape(-1)],
    )


def test_centroids_and_angles_against_their_definition(pool):
    drawn = episodes.draw(pool, shots=3, queries=4, episodes=6, seed=0)
    nearest = baselines.nearest_centroid(pool, drawn)
    angles = baselines.cosine_prototypes(pool, drawn)
    for i in range(6):
        x, labels, asked = _sides(pool, drawn, i)
        means = np.stack([x[labels == label].mean(0) for label in range(WAYS)])
        distances = ((asked[:, None] - means) ** 2).sum(2)
        np.testing.assert_array_equal(nearest[i].reshape(-1), distances.argmin(1))
        cosines = asked @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
        np.testing.assert_array_equal(angles[i].reshape(-1), cosines.argmax(1))


def test_the_smaller_regression_is_the_same_problem(pool):
    """The answers are those of a regression on all inputs."""
    drawn = episodes.draw(pool, shots=3, queries=4, episodes=6, seed=0)
    answers = baselines.logistic_regression(pool, drawn)
    for i in range(6):
        x, labels, asked = _sides(pool, drawn, i)
        oracle = sklearn.linear_model.LogisticRegression(max_iter=1000).fit(x, labels)
        np.testing.assert_array_equal(answers[i].reshape(-1), oracle.predict(asked))
