"""The mix: as many paths as are wanted, with sizes as the web has them, and asked for by Zipf's law."""

import bisect
import math
import random

from caching import SIZES

# Octets: half of all bodies are smaller. With this spread the mean is three times that, and one of a hundred has 130 kB.
MEDIAN, SPREAD, LARGEST = 4096, 1.5, 2 << 20
# Of what is asked for, the share that may not be stored.
PASSED = 20


class Mix:
    """Paths by popularity, the most popular first: `/o/NUMBER/SIZE` may be stored, each twentieth, `/p/NUMBER/SIZE`, may not."""

    def __init__(self, count, zipf, seed=1):
        draw = random.Random(seed)
        self.zipf = zipf
        self.sizes = [nearest(min(LARGEST, draw.lognormvariate(math.log(MEDIAN), SPREAD))) for _ in range(count)]
        self.paths = [f"/{'p' if n % PASSED == PASSED - 1 else 'o'}/{n}/{size}" for n, size in enumerate(self.sizes)]

    @property
    def octets(self):
        """Of all bodies that may be stored."""
        return sum(size for n, size in enumerate(self.sizes) if n % PASSED != PASSED - 1)

    def write(self, place):
        """For k6, which draws from it itself."""
        place.write_text("\n".join(self.paths) + "\n")
        return place

    def draw(self, count, seed=2):
        """Paths as they are asked for; common.js has the same law."""
        draw, most, power = random.Random(seed), len(self.paths), 1 - self.zipf
        for _ in range(count):
            u = draw.random()
            x = (most + 1) ** u if power == 0 else (((most + 1) ** power - 1) * u + 1) ** (1 / power)
            yield self.paths[min(most - 1, int(x) - 1)]

    def write_urls(self, place, port, count):
        """For oha, which takes each line as often as any other: what is popular stands there often."""
        place.write_text("".join(f"http://127.0.0.1:{port}{path}\n" for path in self.draw(count)))
        return place


def nearest(size):
    """Of the sizes that the origin has, the one that is nearest by ratio."""
    above = min(bisect.bisect(SIZES, size), len(SIZES) - 1)
    return min(SIZES[max(0, above - 1)], SIZES[above], key=lambda one: max(one / size, size / one))
