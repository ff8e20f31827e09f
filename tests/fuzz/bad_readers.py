"""A reader that hangs and ends its process, which the run must notice."""

import os
import time

from tests.fuzz.mutations import cut_front
from tests.fuzz.readers import Reader


def sources():
    return [b"abcdefgh"]


def read(path):
    while path.stem.endswith("_3"):
        time.sleep(0.1)
    if path.stem.endswith("_5"):
        os._exit(9)


def check(content, found, sources, blind):
    return "same"


BAD = Reader(".bad", sources, read, (ValueError,), {"cut_front": cut_front}, check)
