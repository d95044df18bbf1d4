"""Draws the folders of the package by their layers, for ``docs/pictures``::

python -m tests.layers_picture
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.test_architecture import LAYERS

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "layers.svg"

WIDTH, ROW, GAP = 800, 44, 10

_SUBJECTS = {
    9: "programs, and tests of protocols",
    8: "HTTP and WebSocket; the terminal",
    7: "protocols and factories to embed",
    6: "messages, accounts, upgrades",
    5: "servers and clients",
    4: "connections, broadcast, timers",
    3: "certificates and contexts",
    2: "reactor and transports",
    1: "decisions; bytes to messages. No I/O",
}


def draw() -> str:
    """Return the picture as SVG. It has the colours of the reader's scheme."""
    layers: dict[int, list[str]] = defaultdict(list)
    for folder, layer in LAYERS.items():
        if layer and not folder.startswith("__"):
            layers[layer].append(folder)
    height = len(layers) * (ROW + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="DejaVu Sans, Verdana, sans-serif">',
        "<title>Each folder imports only from those below it</title>",
        "<style>rect{fill:#e8eef7;stroke:#5b7aa8}text{fill:#1c2733}.s{fill:#56646f}"
        "@media(prefers-color-scheme:dark){rect{fill:#22303f;stroke:#7f9cc4}text{fill:#e6e9ec}"
        ".s{fill:#a9b4be}}</style>",
    ]
    for row, layer in enumerate(sorted(layers, reverse=True)):
        top = GAP + row * (ROW + GAP)
        names = layers[layer]
        width = (480 - GAP * (len(names) - 1)) / len(names)
        for place, name in enumerate(names):
            left = GAP + place * (width + GAP)
            parts += [
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{ROW}" rx="6"/>',
                f'<text x="{left + width / 2:.0f}" y="{top + 28}" font-size="15" '
                f'text-anchor="middle">{name}</text>',
            ]
        parts.append(
            f'<text class="s" x="{480 + 3 * GAP}" y="{top + 27}" font-size="13">'
            f"{_SUBJECTS[layer]}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
