"""New classes from a few samples, by the chip's rule and by methods that work on floats.

`backbones` trains the network that gives spikes, `episodes` draws and learns tasks,
`baselines` are other methods on the same spikes, `sweeps` vary the settings, `pictures` draws.
"""
