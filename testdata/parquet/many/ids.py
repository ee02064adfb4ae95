"""The ids that all generated files draw from, and who of them opts out when."""

import base64
import functools
import operator
import random

START_S = 1_700_000_000

# Cells that are no EUID: none of them may ever get a flag.
BAD = ["", " ", "not an id", "person@example.com", "short==", "+4915112345678", "=" * 44, "A" * 43,
       base64.b64encode(bytes(32)).decode(),  # a sentinel of the opt-out log
       base64.b64encode(bytes([0x00]) + bytes(range(32))).decode()]  # a UID2


def make(rng):
    kind = rng.randrange(4)
    if kind < 2:  # v2
        raw = rng.randbytes(32)
    elif kind == 2:  # v3, an email address or a phone number
        raw = bytes([rng.choice([0x10, 0x14])]) + rng.randbytes(32)
    else:  # v4 of production, whose bytes XOR to 0
        raw = bytes([0xB0]) + rng.randbytes(31)
        raw += bytes([functools.reduce(operator.xor, raw)])
    return base64.b64encode(raw).decode()


class Ids:
    """all: 400 ids. first: who is opted out at the first run, id to seconds;
    later: what is known besides from the second on, more ids and other times for
    some; second: both, with the earlier time."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.all = [make(rng) for _ in range(400)]
        self.first = {i: START_S + rng.randrange(10**7) for i in self.all[:120]}
        later = {i: START_S + rng.randrange(10**7) for i in self.all[100:180]}
        self.second = {i: min(later.get(i, 1 << 40), self.first.get(i, 1 << 40)) for i in {**self.first, **later}}
        self.later = later

    def cell(self, rng, null=0.1, bad=0.05):
        x = rng.random()
        if x < null:
            return None
        if x < null + bad:
            return rng.choice(BAD)
        return rng.choice(self.all)


def flag_ms(log, cell):
    """The plain join: what the new column must hold next to a cell."""
    if cell is None:
        return None
    since = log.get(cell if isinstance(cell, str) else bytes(cell).decode(errors="replace"))
    return None if since is None else since * 1000
