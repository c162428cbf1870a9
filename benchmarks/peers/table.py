"""Medians, ratios and the Markdown table. Standard library only."""

import statistics

import variants


def images_per_second(report, batch_size):
    """From the time of all steps together, the same for peers and stagger."""
    return batch_size * len(report["seconds"]) / sum(report["seconds"])


def ratio(rates, reference):
    """The median of the ratios within a round."""
    return statistics.median(one / other for one, other in zip(rates, reference))


def markdown(chosen, measured):
    """`measured[model][variant name]` is a list with a report per round."""
    models = list(measured)
    head = [f"{model} images/s (range) | × best pipeline | × 2 threads | peak MiB" for model in models]
    lines = [f"| | {' | '.join(head)} |", f"| --- |{' ---: |' * 4 * len(models)}"]
    for variant in chosen:
        cells = [cell for model in models for cell in row(variant, chosen, measured[model])]
        lines.append(f"| {variants.title(variant)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def row(variant, chosen, reports):
    rates = {
        other.name: [images_per_second(report, other.batch_size) for report in reports[other.name]]
        for other in chosen
        if other.dtype == variant.dtype
    }
    own = rates[variant.name]
    pipelines = [rates[other.name] for other in chosen if other.pipeline and other.name in rates]
    best = max(pipelines, key=statistics.median, default=None)
    threads = next((rates[other.name] for other in chosen if other.name in rates and is_two_threads(other)), None)
    peak = statistics.median(report["peak_resident_bytes"] for report in reports[variant.name]) / 2**20
    yield f"{statistics.median(own):.0f} ({min(own):.0f}–{max(own):.0f})"
    yield "–" if best is None else f"{ratio(own, best):.2f}"
    yield "–" if threads is None else f"{ratio(own, threads):.2f}"
    yield f"{peak:.0f}"


def is_two_threads(variant):
    return variant.flags == ("eager", "--threads", "2") and not variant.default_allocator
