"""The verdict of a soak: whether anything grew between its first and its last third, once it was warm."""

from statistics import median

# The share of the time that is not judged: the cache fills, allocators find their size.
WARM_UP = 0.2
# What is compared: title, key, unit, and how far the last third may be beyond the first: so many times, and so much.
MEMORY = ("memory", "memory_kib", "MiB", 1.05, 4 * 1024)
# How many connections there are is for the clients to say, and not among these.
FILES = ("open files", "files", "", 1.05, 32)
P50 = ("p50", "p50", "ms", 1.25, 1.0)
P99 = ("p99", "p99", "ms", 1.5, 5.0)
# And how far the share of hits may fall.
HITS_LOST = 0.02
FEWEST = 2


def thirds(points, key, seconds):
    """The medians of the first and the last third, or None where there are too few points."""
    begin = WARM_UP * seconds
    third = (seconds - begin) / 3
    first = [one[key] for one in points if begin <= one["at"] < begin + third and one.get(key) is not None]
    last = [one[key] for one in points if begin + 2 * third <= one["at"] <= seconds and one.get(key) is not None]
    return (median(first), median(last)) if min(len(first), len(last)) >= FEWEST else None


def verdict(samples, slices, seconds):
    """Each comparison, as a threshold with its two figures."""
    found = []
    for points, rows in ((samples, (MEMORY, FILES)), (slices, (P50, P99))):
        for title, key, unit, times, more in rows:
            compared = thirds(points, key, seconds)
            scale = 1024 if unit == "MiB" else 1
            allowed = f"at most {times:g} times and {more / scale:g} {unit}".strip() + " more"
            found.append(comparison(title, compared, scale, unit, allowed, compared and compared[1] <= compared[0] * times + more))
    compared = thirds(slices, "hits", seconds)
    allowed = f"at most {HITS_LOST:.0%} fewer"
    found.append(comparison("hits", compared, 0.01, "%", allowed, compared and compared[1] >= compared[0] - HITS_LOST))
    return found


def comparison(title, compared, scale, unit, allowed, met):
    first, last = (round(value / scale, 2) for value in compared) if compared else (None, None)
    rule = f"{title} of the last third: {allowed} than of the first"
    return {"rule": rule, "unit": unit, "first": first, "last": last, "met": bool(met), "value": last}
