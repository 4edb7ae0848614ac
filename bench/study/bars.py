# SPDX-License-Identifier: Apache-2.0
"""The floors that the method has to reach, each with its figures. A floor is about one operating point: the one that keeps the
personal accuracy, or the second one, at the untouched network's accuracy; floors of no harm are about either."""
from dataclasses import dataclass

from .cells import Key

POINT = 100.0
KEEP, SECOND, LAST = "policy-keep", "policy-untouched", "last-hearing"


@dataclass(frozen=True)
class Finding:
    bar: str
    passed: object  # True, False, or None where runs are missing
    figures: str


def show(interval):
    return f"{POINT * interval.mean:+.1f} [{POINT * interval.low:+.1f}, {POINT * interval.high:+.1f}]"


def no_harm(cell, method):
    harm = cell.harm(method)
    who = f"harmed: {', '.join(harm.harmed)}" if harm.harmed else "nobody harmed"
    return harm.none, (f"mean {show(harm.mean)}; {who}; lowest upper limit {POINT * harm.worst_limit:+.1f} ({harm.worst})")


def faster(cell, method, floor):
    found = cell.speedups(method)
    return found.mean >= floor, f"{found.mean:.2f}x [{found.low:.2f}, {found.high:.2f}] (floor {floor}x)"


def above(cell, method, other, floor):
    interval = cell.interval(method, other)
    return interval.mean >= floor, f"{show(interval)} against {other} (floor {POINT * floor:+.1f})"


def nobody_below(cell, method, floor):
    mine, theirs = cell.of_person(method, "accuracy"), cell.of_person("untouched", "accuracy")
    worst = min(mine, key=lambda person: mine[person] - theirs[person])
    lost = mine[worst] - theirs[worst]
    return lost >= floor, f"worst person {worst} {POINT * lost:+.1f} (floor {POINT * floor:+.1f})"


def better_than_static(cell, method):
    """More right than static cuts, taken in turns, at the same speed; the fastest cut that has the untouched accuracy is shown."""
    untouched, mine, found = cell.interval("untouched").mean, cell.interval(method).mean, cell.speedup(method)
    best, mixed = cell.best_static(untouched), cell.mixed_static(found)
    shown = f"; {best[2]:.2f}x at {POINT * (best[1] - untouched):+.1f} of the static cut {best[0]}" if best else ""
    if mixed is None:
        return True, f"no static cut is as fast as {found:.2f}x{shown}"
    return mine > mixed, f"{POINT * (mine - mixed):+.1f} against static cuts mixed to the same {found:.2f}x{shown}"


def both(*checks):
    return all(passed for passed, _ in checks), "; ".join(text for _, text in checks)


def either(check):
    """The bar holds at one operating point or the other; both are shown."""
    def judged(cell):
        found = {name: check(cell, name) for name in (KEEP, SECOND)}
        return any(passed for passed, _ in found.values()), " / ".join(f"{name[7:]}: {text}" for name, (_, text) in found.items())

    return judged


def harmless(floor):
    return either(lambda cell, point: both(no_harm(cell, point), faster(cell, point, floor)))


def with_last(floor, check):
    """The last exit's gain besides, as it answers where nobody leaves: with what it hears from the exits before it."""
    return lambda cell: both(above(cell, LAST, "untouched", floor), check(cell))


# bar, (scenario, split, labelled share, photos), the check
BARS = (
    ("wardrobe, all labelled: no harm; last exit +1; >= 1.6x", ("wardrobe", "twins", 100, 50), with_last(0.01, harmless(1.6))),
    ("wardrobe, 20 % labelled: no harm; >= 1.4x", ("wardrobe", "twins", 20, 50), harmless(1.4)),
    ("wardrobe, no labels: no harm; >= 1.3x", ("wardrobe", "twins", 0, 50), harmless(1.3)),
    ("changed camera: +5; >= 1.5x", ("camera", "twins", 100, 50),
     lambda cell: both(above(cell, KEEP, "untouched", 0.05), faster(cell, KEEP, 1.5))),
    ("changed camera, second point: untouched accuracy; >= 2.2x", ("camera", "twins", 100, 50),
     lambda cell: both(above(cell, SECOND, "untouched", 0), faster(cell, SECOND, 2.2))),
    ("shopper, all labelled: masked-to-seen +2; >= 1.6x", ("shopper", "twins", 100, 50),
     lambda cell: both(above(cell, KEEP, "masked-seen", 0.02), faster(cell, KEEP, 1.6))),
    ("shopper, second point: untouched accuracy; better than the best static cut; >= 3.2x", ("shopper", "twins", 100, 50),
     lambda cell: both(above(cell, SECOND, "untouched", 0), better_than_static(cell, SECOND), faster(cell, SECOND, 3.2))),
    ("shopper, random split: masked-to-seen +3; >= 2x", ("shopper", "random", 100, 50),
     lambda cell: both(above(cell, KEEP, "masked-seen", 0.03), faster(cell, KEEP, 2.0))),
    ("shopper, no labels: +5; nobody below -5; >= 2x", ("shopper", "twins", 0, 50), either(
        lambda cell, point: both(above(cell, point, "untouched", 0.05), nobody_below(cell, point, -0.05),
                                 faster(cell, point, 2.0)))),
)
TEN = 10
WANTED = {cell for _, cell, _ in BARS} | {(scenario, "twins", share, TEN) for scenario in ("wardrobe", "camera", "shopper")
                                          for share in (100, 20, 0)}
TEN_PHOTOS = "{}, 10 photos, {} % labelled: no harm; >= 1.2x"


def judge(cells):
    """A Finding for each bar; those about ten photos for every scenario and share that was run."""
    findings = []
    for bar, (scenario, split, share, size), check in BARS:
        cell = cells.get(Key(scenario, split, share, size))
        findings.append(Finding(bar, *check(cell)) if cell else Finding(bar, None, "not run"))
    for key, cell in sorted(cells.items(), key=lambda item: (item[0].scenario, -item[0].share)):
        if key.size == TEN and key.split == "twins" and not key.variant:
            findings.append(Finding(TEN_PHOTOS.format(key.scenario, key.share), *harmless(1.2)(cell)))
    return findings
