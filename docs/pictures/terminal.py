"""The screen of a terminal as an SVG, from what `tmux capture-pane -e -p` prints.

    terminal.py light <screen.txt >screen.svg

Lines, blocks and braille dots are drawn, so that they join whatever fonts there are; only letters are text.
"""

import html
import re
import sys

WIDTH, HEIGHT, MARGIN = 8.4, 18, 14
# GitHub's colours of terminals, in the order of ANSI: black, red, green, yellow, blue, magenta, cyan, white, and then the bright ones.
THEMES = {
    "light": {
        "ground": "#ffffff",
        "text": "#1f2328",
        "edge": "#d1d9e0",
        "colours": "#24292f #cf222e #116329 #7d4e00 #0969da #8250df #1b7c83 #6e7781 #57606a #a40e26 #1a7f37 #633c01 #218bff #a475f9 #3192aa #8c959f".split(),
    },
    "dark": {
        "ground": "#0d1117",
        "text": "#f0f6fc",
        "edge": "#3d444d",
        "colours": "#484f58 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #b1bac4 #8b949e #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff".split(),
    },
}
# Arms of characters for boxes: left, right, up, down, each with its width.
ARMS = {
    "─": (1, 1, 0, 0), "━": (2.4, 2.4, 0, 0), "│": (0, 0, 1, 1), "┌": (0, 1, 0, 1), "┐": (1, 0, 0, 1), "└": (0, 1, 1, 0), "┘": (1, 0, 1, 0),
    "├": (0, 1, 1, 1), "┤": (1, 0, 1, 1), "┬": (1, 1, 0, 1), "┴": (1, 1, 1, 0), "┼": (1, 1, 1, 1), "╸": (2.4, 0, 0, 0), "╺": (0, 2.4, 0, 0),
}
DASHES = {"╌": 1, "╍": 2.4}
BLOCKS = {chr(0x2580 + eighths): eighths / 8 for eighths in range(1, 9)}


def cells(screen):
    """Lines of characters, each with its colour (a number, or none) and whether it is bold. Both stay at the end of a line."""
    colour, bold = None, False
    lines = [[]]
    for codes, character in re.findall(r"\x1b\[([0-9;]*)m|(.|\n)", screen):
        if character == "\n":
            lines.append([])
            continue
        if character:
            lines[-1].append((character, colour, bold))
            continue
        codes = [int(code or 0) for code in codes.split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                colour, bold = None, False
            elif code == 1:
                bold = True
            elif code == 22:
                bold = False
            elif 30 <= code <= 37:
                colour = code - 30
            elif 90 <= code <= 97:
                colour = code - 82
            elif code == 39:
                colour = None
            elif code == 49:
                pass  # The ground has no other colour.
            elif code == 38 and codes[:1] == [5] and codes[1] < 16:
                colour = codes[1]
                codes = codes[2:]
            else:
                raise SystemExit(f"the screen has a colour or style {code} that is not drawn here")
    return lines


def drawn(character, x, y):
    """A character as a path with its width of line, or as dots; `None` for one that is text."""
    middle, centre = y + HEIGHT / 2, x + WIDTH / 2
    if character in ARMS:
        left, right, up, down = ARMS[character]
        path = ""
        path += f"M{x:.1f} {middle}H{centre + 0.5 * bool(up or down):.1f}" if left else ""
        path += f"M{centre - 0.5 * bool(up or down):.1f} {middle}H{x + WIDTH:.1f}" if right else ""
        path += f"M{centre:.1f} {y}V{middle}" if up else ""
        path += f"M{centre:.1f} {middle}V{y + HEIGHT}" if down else ""
        return path, max(left, right, up, down)
    if character in DASHES:
        return f"M{x + 0.8:.1f} {middle}h2.6M{x + 5:.1f} {middle}h2.6", DASHES[character]
    if character in BLOCKS:
        height = HEIGHT * BLOCKS[character]
        return f"M{centre:.1f} {y + HEIGHT}v{-height:.1f}", WIDTH
    if "\u2800" <= character <= "\u28ff":
        bits = ord(character) - 0x2800
        places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
        dots = [place for bit, place in enumerate(places) if bits >> bit & 1]
        dot = "M{:.1f} {:.1f}h0"
        return "".join(dot.format(x + WIDTH * (0.27 + 0.46 * column), y + HEIGHT * (0.125 + 0.25 * row)) for column, row in dots), 2.5
    return None


def main():
    theme = THEMES[sys.argv[1]]
    lines = cells(sys.stdin.read().rstrip("\n"))
    columns = max(map(len, lines))
    width, height = columns * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    paths, texts = {}, []
    for row, line in enumerate(lines):
        y = MARGIN + row * HEIGHT
        run = None
        for column, (character, colour, bold) in enumerate(line):
            x = MARGIN + column * WIDTH
            shape = drawn(character, x, y)
            if shape:
                path, stroke = shape
                paths[colour, stroke] = paths.get((colour, stroke), "") + path
            if shape or character == " ":
                run = None
                continue
            if run is None or run["style"] != (colour, bold):
                run = {"x": x, "y": y, "style": (colour, bold), "text": ""}
                texts.append(run)
            run["text"] += character

    def paint(colour):
        return theme["text"] if colour is None else theme["colours"][colour]

    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14">')
    print(f'<rect x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1}" rx="8" fill="{theme["ground"]}" stroke="{theme["edge"]}"/>')
    for (colour, stroke), path in paths.items():
        cap = ' stroke-linecap="round"' if stroke == 2.5 else ""
        print(f'<path d="{path}" fill="none" stroke="{paint(colour)}" stroke-width="{stroke}"{cap}/>')
    for run in texts:
        colour, bold = run["style"]
        weight = ' font-weight="bold"' if bold else ""
        length = len(run["text"]) * WIDTH
        print(f'<text x="{run["x"]:.1f}" y="{run["y"] + 13.5}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs" fill="{paint(colour)}"{weight}>{html.escape(run["text"])}</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
