# SPDX-License-Identifier: Apache-2.0
"""Pictures of a study: accuracy against milliseconds, and the trend over the number of photos (needs matplotlib)."""
import numpy as np

from .bars import KEEP, POINT
from .cells import cohorts, kinds
from .report import heading, title

MARKS = {"untouched": "k*", "last": "bs", "policy-keep": "ro", "policy-untouched": "r^", "sdn-keep": "g+",
         "ensemble-keep": "gx", "patience-keep": "g1", "earlyon-keep": "gd", "masked-seen": "k_", "normalised": "k|"}


def trade(cell, target):
    """Accuracy against milliseconds: chosen points, static cuts, and the oracle's curve."""
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(6.5, 4.5))
    curve = cell.curve
    axes.plot(curve[:, 1], POINT * curve[:, 0], "-", color="0.7", label="any exits and threshold (oracle)")
    cuts = [m for m in cell.methods() if m.startswith("exit")] + ["last"]
    spot = lambda m: (np.mean(list(cell.having(m).of_person(m, "ms").values())), POINT * cell.having(m).interval(m).mean)
    axes.plot(*zip(*map(spot, cuts)), "b.--", linewidth=0.7, label="static cuts")
    for method in cell.methods():
        if method in MARKS:
            axes.plot(*spot(method), MARKS[method], label=title(method))
    axes.set(xlabel="mean milliseconds", ylabel="accuracy, %", title=heading(cell.key))
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(target, dpi=130)
    plt.close(figure)


def trends(cells, scenario, split, target):
    """What the policy gains over the untouched network, and its speed-up, by number of photos; a line a cohort."""
    import matplotlib.pyplot as plt
    figure, (gains, speeds) = plt.subplots(1, 2, figsize=(9, 4))
    for i, (kind, mine) in enumerate((k, m) for k, m in kinds(cells).items() if k[:2] == (scenario, split)):
        for row, line in zip(cohorts(mine), ("o-", "s--", "^:", "v:")):
            sizes, label = [cell.key.size for cell in row], f"{kind[2]} % labelled, {len(row[0].people)} people"
            found = [cell.interval(KEEP, "untouched") for cell in row]
            spread = [[POINT * (v.mean - v.low) for v in found], [POINT * (v.high - v.mean) for v in found]]
            beside = [size * 1.03**i for size in sizes]  # or bars hide each other
            gains.errorbar(beside, [POINT * v.mean for v in found], yerr=spread, fmt=line, color=f"C{i}", capsize=3, label=label)
            speeds.plot(sizes, [cell.speedup(KEEP) for cell in row], line, color=f"C{i}", label=label)
    ticks = sorted({cell.key.size for cell in cells.values()})
    for axes in (gains, speeds):
        axes.set_xscale("log")
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.minorticks_off()
    gains.axhline(0, color="0.7", linewidth=0.7)
    gains.set(xlabel="photos", ylabel="policy above untouched, points", title=f"{scenario}, {split}")
    speeds.set(xlabel="photos", ylabel="speed-up")
    gains.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(target, dpi=130)
    plt.close(figure)


def draw(cells, folder):
    """All pictures; returns False where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    folder.mkdir(exist_ok=True)
    for key, cell in cells.items():
        if not key.variant:
            trade(cell, folder / f"trade-{key.scenario}-{key.split}-{key.size}-{key.share}.png")
    for scenario, split in sorted({(key.scenario, key.split) for key in cells}):
        trends(cells, scenario, split, folder / f"trend-{scenario}-{split}.png")
    return True
