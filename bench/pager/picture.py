# SPDX-License-Identifier: Apache-2.0
"""The figures of bench/pager as a picture (SVG): a bar a line, Quire's time over the kernel's."""
import html
import math

ROW = 26
LEFT, WIDTH, RIGHT = 262, 470, 190
TOP = 74
LEAST, MOST = 0.1, 8.0  # of the scale, which is logarithmic
TICKS = (0.1, 0.2, 0.5, 1, 2, 4, 8)
GOOD, BAD, GOAL, INK, FAINT = "#2b7a5b", "#b5532b", "#1a1a1a", "#222222", "#d9d9d9"


def place(ratio):
    """The x of a ratio."""
    at = min(max(ratio, LEAST), MOST)
    return LEFT + WIDTH * (math.log(at) - math.log(LEAST)) / (math.log(MOST) - math.log(LEAST))


def text(x, y, words, size=12, anchor="start", colour=INK, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{colour}">{html.escape(words)}</text>')


def figure(value, unit):
    if unit == "ns" and value >= 1000:
        return f"{value / 1000:.1f} µs"
    if unit == "ms" and value >= 10000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} {unit}"


def row(result, y):
    parts = [text(LEFT - 10, y + 17, result["name"], anchor="end")]
    ratio = result.get("ratio")
    if ratio is None:
        why = result.get("kernel_failed") or result.get("quire_failed") or "not compared"
        parts.append(text(place(1) + 6, y + 17, why, colour=BAD))
    else:
        first, last = sorted((place(1), place(ratio)))
        colour = GOOD if ratio <= 1 else BAD
        parts.append(f'<rect x="{first:.1f}" y="{y + 5}" width="{max(last - first, 1):.1f}" '
                     f'height="{ROW - 10}" fill="{colour}"/>')
        parts.append(text(LEFT + WIDTH + 12, y + 17, f"{ratio:.2f}", weight="bold", colour=colour))
        parts.append(text(LEFT + WIDTH + 52, y + 17,
                          f'{figure(result["quire"], result["unit"])} : '
                          f'{figure(result["kernel"], result["unit"])}', size=11))
    if result.get("goal"):
        x = place(result["goal"])
        parts.append(f'<path d="M{x:.1f} {y + 3}v{ROW - 6}" stroke="{GOAL}" stroke-width="2" '
                     'stroke-dasharray="3 2"/>')
    return parts


def draw(results, title, subtitle):
    """The whole picture, as text."""
    height = TOP + ROW * len(results) + 46
    bottom = TOP + ROW * len(results)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" '
             f'height="{height}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
             'font-family="sans-serif">',
             '<rect width="100%" height="100%" fill="white"/>',
             text(16, 26, title, size=16, weight="bold"), text(16, 46, subtitle, size=12)]
    for tick in TICKS:
        x = place(tick)
        colour = INK if tick == 1 else FAINT
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{colour}"/>')
        parts.append(text(x, TOP - 6, f"{tick:g}", size=11, anchor="middle"))
    for number, result in enumerate(results):
        parts += row(result, TOP + ROW * number)
    parts.append(text(LEFT, bottom + 20, "faster than the kernel", size=11, colour=GOOD))
    parts.append(text(LEFT + WIDTH, bottom + 20, "slower", size=11, colour=BAD, anchor="end"))
    parts.append(text(LEFT, bottom + 36, "dashes: the goal. Right: the ratio; Quire : kernel",
                      size=11))
    return "\n".join(parts) + "\n</svg>\n"
