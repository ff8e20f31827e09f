"""The integer layers in plain Python ints and loops: a witness that shares no code.

Images are nested lists ``[y][x][channel]``. Nothing here knows JAX or a float.
"""

from fractions import Fraction
from operator import mul

MINUS_INFINITY = -(2**40)


def windows(size, window, stride, padding):
    """Return, per output, the first input index that its window covers (may be < 0)."""
    if padding == "valid":
        count = (size - window) // stride + 1
        return [i * stride for i in range(count)]
    count = -(-size // stride)
    total = max((count - 1) * stride + window - size, 0)
    before = total // 2  # the odd element goes to the bottom and right
    return [i * stride - before for i in range(count)]


def pixel(image, y, x, fill):
    if 0 <= y < len(image) and 0 <= x < len(image[0]):
        return image[y][x]
    return [fill] * len(image[0][0])


def convolve(image, kernel, stride=1, padding="same", fill=0):
    """Convolve with ``kernel[dy][dx][channel][filter]``."""
    kh, kw = len(kernel), len(kernel[0])
    rows = windows(len(image), kh, stride, padding)
    columns = windows(len(image[0]), kw, stride, padding)
    weights = [
        [channel[f] for line in kernel for tap in line for channel in tap]
        for f in range(len(kernel[0][0][0]))
    ]
    result = []
    for y in rows:
        line = []
        for x in columns:
            patch = []
            for dy in range(kh):
                for dx in range(kw):
                    patch += pixel(image, y + dy, x + dx, fill)
            line.append([sum(map(mul, patch, w)) for w in weights])
        result.append(line)
    return result


def convolve_depthwise(image, kernel, stride=1):
    """Convolve each channel with its own ``kernel[dy][dx][0][channel]``."""
    kh, kw = len(kernel), len(kernel[0])
    result = []
    for y in windows(len(image), kh, stride, "same"):
        line = []
        for x in windows(len(image[0]), kw, stride, "same"):
            sums = [0] * len(image[0][0])
            for dy in range(kh):
                for dx in range(kw):
                    values = pixel(image, y + dy, x + dx, 0)
                    for c, value in enumerate(values):
                        sums[c] += value * kernel[dy][dx][0][c]
            line.append(sums)
        result.append(line)
    return result


def mix(image, matrix):
    """Multiply every pixel with ``matrix[channel][filter]``."""
    columns = [[row[f] for row in matrix] for f in range(len(matrix[0]))]
    return [[[sum(map(mul, p, w)) for w in columns] for p in line] for line in image]


def max_pool(image, size, stride, padding):
    result = []
    for y in windows(len(image), size[0], stride[0], padding):
        line = []
        for x in windows(len(image[0]), size[1], stride[1], padding):
            covered = [
                pixel(image, y + dy, x + dx, MINUS_INFINITY)
                for dy in range(size[0])
                for dx in range(size[1])
            ]
            line.append([max(values) for values in zip(*covered, strict=True)])
        result.append(line)
    return result


def global_sum(image):
    totals = [0] * len(image[0][0])
    for line in image:
        for values in line:
            for f, value in enumerate(values):
                totals[f] += value
    return [[totals]]


def fire(potential, threshold, step, bits):
    """Quantize one potential; ``step`` is what the register holds, a multiple of 1/16."""
    s16 = Fraction(step) * 16
    assert s16.denominator == 1
    level = -((-16 * (potential - threshold)) // (int(s16) << (4 - bits)))
    return min(max(level, 0), 2**bits - 1)


def two(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def layer_potentials(layer, variables, image):
    """Return pooled potentials of one sample; ``variables`` holds nested lists."""
    kind = type(layer).__name__
    kernel = variables["kernel"]
    if kind == "FullyConnected":
        flat = [value for line in image for values in line for value in values]
        weights = kernel[0][0]
        return [[[sum(v * w[f] for v, w in zip(flat, weights, strict=True))
                  for f in range(layer.units)]]]  # fmt: skip
    if kind == "SeparableConvolutional":
        sums = mix(convolve_depthwise(image, kernel, layer.stride), variables["pointwise"])
    else:
        fill = layer.padding_value if kind == "InputConvolutional" else 0
        sums = convolve(image, kernel, layer.stride, layer.padding, fill)
    if layer.pool == "max":
        size = two(layer.pool_size)
        stride = size if layer.pool_stride is None else two(layer.pool_stride)
        return max_pool(sums, size, stride, layer.padding)
    return global_sum(sums) if layer.pool == "global_average" else sums


def fire_layer(layer, variables, potentials):
    thresholds, steps = variables["threshold"], variables["step"]
    return [
        [[fire(p, t, s, layer.act_bits) for p, t, s in zip(values, thresholds, steps, strict=True)]
         for values in line]
        for line in potentials
    ]  # fmt: skip


def run(layers, variables, image):
    """Run one sample.

    Returns the levels that leave each layer but the last, the last layer's potentials,
    and its output: the potentials again, or its levels.
    """
    layers = [layer for layer in layers if type(layer).__name__ != "InputData"]
    variables = {
        name: {key: array.tolist() for key, array in arrays.items()}
        for name, arrays in variables.items()
    }
    image = image.tolist()
    levels = []
    for layer in layers:
        potentials = layer_potentials(layer, variables[layer.name], image)
        if layer.activation:
            image = fire_layer(layer, variables[layer.name], potentials)
            levels.append(image)
    out = image if layers[-1].activation else potentials
    return levels[: len(layers) - 1], potentials, out
