"""The table and the curves of what run.py has found."""

import json
import statistics
from xml.sax.saxutils import escape

# Okabe and Ito's colours, which colour-blind people tell apart.
COLOURS = ["#0072b2", "#000000", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#999999"]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 640, 360, 48, 16, 40, 16
PIPELINE, BEST = "torch-1f1b", ("torch-2-threads", "torch-ddp")


def write(folder, titles, marks):
    runs = read(folder, titles)
    if not runs:
        print(f"no run in {folder} has ended")
        return
    print(text(runs, titles, marks))
    lines = ["contestant,seed,epoch,seconds,train_loss,test_top1"]
    for name, seeds in runs.items():
        for seed, epochs in seeds.items():
            lines += [f"{name},{seed},{e['epoch']},{e['seconds']:.1f},{e['train_loss']:.4f},{e['test_top1']:.2f}" for e in epochs]
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    (folder / "curves.svg").write_text(chart(runs, titles, marks))


def read(folder, titles):
    """Epochs by contestant, in the order of `titles`, and seed."""
    found = {}
    for name in titles:
        for path in sorted(folder.glob(f"{name}-seed*.jsonl")):
            head, *epochs = (json.loads(line) for line in path.read_text().splitlines())
            found.setdefault(name, {})[head["seed"]] = epochs
    return found


def reached(epochs, mark):
    """Seconds of training at the end of the first epoch whose test accuracy is `mark` percent or more."""
    return next((epoch["seconds"] for epoch in epochs if epoch["test_top1"] >= mark), None)


def mean_reached(runs, name, mark):
    """The mean over the seeds; None where one of them has not reached it."""
    seconds = [reached(epochs, mark) for epochs in runs.get(name, {}).values()]
    return statistics.mean(seconds) if seconds and None not in seconds else None


def text(runs, titles, marks):
    best = {mark: min((s for name in BEST if (s := mean_reached(runs, name, mark))), default=None) for mark in marks}
    columns = [part for mark in marks for part in (f"seconds to {mark:g} %", "faster than the pipeline", "than the best of PyTorch")]
    lines = ["| | seeds | s per epoch | " + " | ".join(columns) + " | test accuracy at the end | peak MiB |",
             "| --- | ---: | ---: |" + " ---: |" * len(columns) + " ---: | ---: |"]
    for name, seeds in runs.items():
        cells = []
        for mark in marks:
            each = [reached(epochs, mark) for epochs in seeds.values()]
            cells.append(", ".join("not reached" if seconds is None else f"{seconds:.0f}" for seconds in each))
            own = mean_reached(runs, name, mark)
            for other in (mean_reached(runs, PIPELINE, mark), best[mark]):
                cells.append(f"{other / own:.2f} ×" if own and other else "–")
        pace = statistics.median(epochs[-1]["seconds"] / len(epochs) for epochs in seeds.values())
        finals = ", ".join(f"{epochs[-1]['test_top1']:.2f}" for epochs in seeds.values())
        peak = max(epochs[-1]["peak_bytes"] for epochs in seeds.values()) / 2**20
        lines.append(f"| {titles[name]} | {len(seeds)} | {pace:.1f} | " + " | ".join(cells) + f" | {finals} % | {peak:.0f} |")
    return "\n".join(lines)


def chart(runs, titles, marks):
    """Test accuracy over the time of training."""
    most = max(epoch["seconds"] for seeds in runs.values() for epochs in seeds.values() for epoch in epochs)
    low, high = 40, 90
    across = lambda seconds: LEFT + (WIDTH - LEFT - RIGHT) * seconds / most
    up = lambda accuracy: TOP + (HEIGHT - TOP - BOTTOM) * (1 - (max(accuracy, low) - low) / (high - low))
    whole = HEIGHT + 18 * len(runs) + 8
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole}" width="{WIDTH}" font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{whole}" fill="white"/>']
    for value in range(low, high + 1, 10):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 5}" y="{up(value) + 4:.1f}" text-anchor="end">{value} %</text>')
    for mark in marks:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(mark):.1f}" y2="{up(mark):.1f}" stroke="#999" stroke-dasharray="4 3"/>')
    step = next(step for step in (1, 10, 60, 300, 600, 1200, 3600) if most / step <= 8) if most <= 28800 else 7200
    for place in range(int(most / step) + 1):
        out.append(f'<text x="{across(place * step):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{place * step}</text>')
    out.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">seconds of training</text>')
    for index, (name, seeds) in enumerate(runs.items()):
        for epochs in seeds.values():
            points = " ".join(f"{across(e['seconds']):.1f},{up(e['test_top1']):.1f}" for e in epochs)
            out.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[index]}" stroke-width="1.5"/>')
        y = HEIGHT + 18 * index + 8
        out.append(f'<line x1="{LEFT}" x2="{LEFT + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{COLOURS[index]}" stroke-width="2"/>')
        out.append(f'<text x="{LEFT + 24}" y="{y}">{escape(titles[name])}</text>')
    return "\n".join([*out, "</svg>", ""])
