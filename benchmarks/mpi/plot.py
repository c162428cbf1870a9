"""Small SVG plots without a library: panels of lines, a legend below."""

from xml.sax.saxutils import escape

# Okabe and Ito's colours, which colour-blind people tell apart.
COLOURS = ["#000000", "#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 270, 210, 44, 30, 30, 12


def nice(highest):
    """A round step of which some five fit."""
    step = 10.0 ** len(str(int(highest))) / 10
    for part in (0.1, 0.2, 0.5, 1, 2):
        if highest / (step * part) <= 6:
            return step * part
    return step * 5


def panel(title, labels, series, colours):
    """One panel: series are (loopback rate, values of the rounds at each label), by name."""
    ticks = ["L", *labels]
    every = [value for base, points in series.values() for value in [base or 0, *(value for point in points for value in point)]]
    highest = 1.05 * max([1, *every])
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    across = lambda place: LEFT + inner_width * (place + 0.5) / len(ticks)
    up = lambda value: TOP + inner_height * (1 - value / highest)
    found = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    step = nice(highest)
    for count in range(int(highest / step) + 1):
        y = up(count * step)
        found.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        found.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{count * step:g}</text>')
    for place, tick in enumerate(ticks):
        found.append(f'<text x="{across(place):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(tick)}</text>')
    for position, (name, (base, points)) in enumerate(series.items()):
        colour = colours[name]
        shift = 3 * (position - (len(series) - 1) / 2)
        middle = []
        for place, values in enumerate([[base] if base else [], *points]):
            if not values:
                continue
            x, ordered = across(place) + shift, sorted(values)
            middle.append((x, up(ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2)))
            if len(ordered) > 1:
                found.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{up(ordered[0]):.1f}" y2="{up(ordered[-1]):.1f}" stroke="{colour}"/>')
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in middle)
        found.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        found += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in middle]
    return found


def panels(each, columns, title):
    """The whole picture; `each` is (title, labels, series) row by row."""
    names = list(dict.fromkeys(name for _, _, series in each for name in series))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    columns = max(1, columns)
    rows = -(-len(each) // columns)
    width, height = WIDTH * columns, 26 + HEIGHT * rows + 26
    size = f'width="{width}" height="{height}"'
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} font-family="sans-serif" font-size="11">',
        f'<rect {size} fill="#fff"/>',
        f'<text x="12" y="18" font-size="13">{escape(title)}</text>',
    ]
    for place, (caption, labels, series) in enumerate(each):
        x, y = WIDTH * (place % columns), 26 + HEIGHT * (place // columns)
        found += [f'<g transform="translate({x} {y})">', *panel(caption, labels, series, colours), "</g>"]
    x = 12
    for name in names:
        found.append(f'<rect x="{x}" y="{height - 18}" width="10" height="10" fill="{colours[name]}"/>')
        found.append(f'<text x="{x + 14}" y="{height - 9}">{escape(name)}</text>')
        x += 26 + 7 * len(name)
    return "\n".join([*found, "</svg>", ""])
