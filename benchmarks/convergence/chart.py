"""Small SVG charts with logarithmic axes, without a library: panels side by side, a legend below."""

import math
from xml.sax.saxutils import escape

# Okabe and Ito's colours, which colour-blind people tell apart.
COLOURS = ["#000000", "#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7"]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 300, 240, 48, 30, 40, 14


def ticks(low, high):
    """Powers of ten and of their parts, or powers of two where the range is short."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [part * 10.0**decade for decade in decades for part in (1, 2, 5)]
    within = [value for value in found if low * 0.999 <= value <= high * 1.001]
    return within if len(within) < 9 else [value for value in within if f"{value:e}".startswith("1.0")]


def label(value):
    return f"{value:g}" if 0.001 <= value < 10000 else f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")


def panel(title, across_title, series, x_range, y_range, marks=(), guide=None):
    """`series`: name -> list of (x, y); `marks`: (x, index of the colour); `guide`: a slope to compare with."""
    (x_low, x_high), (y_low, y_high) = x_range, y_range
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    across = lambda x: LEFT + inner_width * math.log(x / x_low) / math.log(x_high / x_low)
    up = lambda y: TOP + inner_height * (1 - math.log(y / y_low) / math.log(y_high / y_low))
    out = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for value in ticks(y_low, y_high):
        y = up(value)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{label(value)}</text>')
    for value in ticks(x_low, x_high):
        x = across(value)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{label(value)}</text>')
    out.append(f'<text x="{LEFT + inner_width / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across_title)}</text>')
    for x, colour in marks:
        if x_low <= x <= x_high:
            out.append(f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{COLOURS[colour]}" stroke-dasharray="2 3"/>')
    if guide is not None:
        start = y_high / 1.3
        end = start * (x_high / x_low) ** guide
        out.append(f'<line x1="{across(x_low):.1f}" y1="{up(start):.1f}" x2="{across(x_high):.1f}" y2="{up(max(end, y_low)):.1f}" stroke="#999" stroke-dasharray="5 4"/>')
    for index, points in enumerate(series.values()):
        kept = [(across(x), up(min(max(y, y_low), y_high))) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)
        out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[index]}" stroke-width="1.6"/>')
        out.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{COLOURS[index]}"/>' for x, y in kept)
    return "".join(out)


def chart(panels, names, notes=""):
    """Panels as `panel` gives them."""
    width, height = WIDTH * len(panels), HEIGHT + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    out.extend(f'<g transform="translate({WIDTH * place},0)">{found}</g>' for place, found in enumerate(panels))
    x = LEFT
    for index, name in enumerate(names):
        out.append(f'<line x1="{x}" x2="{x + 18}" y1="{HEIGHT + 12}" y2="{HEIGHT + 12}" stroke="{COLOURS[index]}" stroke-width="2"/>')
        out.append(f'<text x="{x + 23}" y="{HEIGHT + 16}">{escape(name)}</text>')
        x += 45 + 7 * len(name)
    out.append(f'<text x="{LEFT}" y="{HEIGHT + 33}" fill="#555">{escape(notes)}</text></svg>\n')
    return "\n".join(out)
