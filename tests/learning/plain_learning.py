"""The learning rule over Python ints, with sorted lists instead of bounds found bit by bit."""

ONE = 2**16


def mix(x):
    """MurmurHash3's finalizer."""
    x ^= x >> 16
    x = x * 0x85EBCA6B % 2**32
    x ^= x >> 13
    x = x * 0xC2B2AE35 % 2**32
    return x ^ (x >> 16)


def keys(seed, neuron, count, n_inputs):
    """Return a key for each input: 12 drawn bits, then its own number."""
    n_words = -(-n_inputs // 32)
    start = mix((mix((mix(seed) + neuron * 0x9E3779B9) % 2**32) + count) % 2**32)
    result = []
    for i in range(n_inputs):
        word, place = divmod(i, 32)
        key = 0
        for plane in range(12):
            drawn = mix((start + (plane * n_words + word) * 0x9E3779B9) % 2**32)
            key = 2 * key + (drawn >> place & 1)
        result.append(key * n_words * 32 + i)
    return result


def first_weights(seed, neuron, n_inputs, num_weights):
    order = sorted(range(n_inputs), key=keys(seed, neuron, 0, n_inputs).__getitem__, reverse=True)
    return [int(i in order[:num_weights]) for i in range(n_inputs)]


class PlainLearner:
    """The same state in lists."""

    def __init__(self, state, weights):
        self.weights = [[int(w) for w in row] for row in weights]
        self.plasticity = [int(v) for v in state.plasticity]
        self.threshold = [int(v) for v in state.threshold]
        self.classes = [int(v) for v in state.classes]
        self.learned = [int(v) for v in state.learned]
        self.seed = int(state.seed)
        self.floor, self.decay, self.competition = (int(v) for v in state.rule[:3])
        self.turns, self.mates = bool(state.rule.turns), bool(state.rule.mates)

    def learn(self, spikes, label):
        """Return the neuron that learns, or -1."""
        active = {i for i, spike in enumerate(spikes) if spike}
        rivals = [j for j, c in enumerate(self.classes) if label in (-1, c)]
        if not active or not rivals:
            return -1
        winner = max(rivals, key=lambda j: self.rank(j, active, label))
        if not self.plasticity[winner]:
            return -1
        self.learned[winner] += 1
        self.move(winner, active)
        self.threshold[winner] = max(1, sum(self.weights[winner][i] for i in active))
        lower = max(0, self.plasticity[winner] - self.decay)
        self.plasticity[winner] = max(lower, self.floor)
        return winner

    def rank(self, j, active, label):
        """Return what decides between neurons, the largest first."""
        potential = sum(self.weights[j][i] for i in active)
        slack = self.threshold[j] * self.competition // ONE
        if self.threshold[j] == 0:
            return 1, 0, potential, -j
        if label == -1 and potential >= self.threshold[j]:
            return 3, 0, potential, -j
        if self.competition and potential >= self.threshold[j] - slack:
            return 2, 0, potential, -j
        by_plasticity = self.turns and label != -1
        return 0, self.plasticity[j] if by_plasticity else 0, potential, -j

    def move(self, winner, active):
        """Move weights of a neuron to active inputs."""
        row = self.weights[winner]
        order = keys(self.seed, winner, self.learned[winner], len(row))
        gains = [i for i in active if not row[i]]
        losses = [i for i, weight in enumerate(row) if weight and i not in active]
        mates = [
            j
            for j, threshold in enumerate(self.threshold)
            if self.mates and threshold and j != winner and self.classes[j] == self.classes[winner]
        ]
        support = [sum(self.weights[j][i] for j in mates) for i in range(len(row))]
        gains.sort(key=lambda i: (support[i], order[i]), reverse=True)
        losses.sort(key=lambda i: (-support[i], order[i]), reverse=True)
        movable = min(len(gains), len(losses))
        count = (self.plasticity[winner] * movable + ONE // 2) // ONE
        for gained, lost in zip(gains[:count], losses[:count], strict=True):
            row[gained], row[lost] = 1, 0
