"""Parts of an offline page: its style, its notes, and tables."""

import html
from collections.abc import Sequence

TEST_NOTE = (
    "<p>Mean ± standard deviation over seeds. U, S and H are at the gamma that was carried from "
    "validation; oracle H is at the best gamma for these very images and is no result. Baselines "
    "are refitted and calibrated by the same protocol.</p>"
)
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff;max-width:60rem;
margin:0 auto;padding:1rem}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
.verdict{background:#f3f6fa;border-left:4px solid #1f5fa8;padding:.75rem 1rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
td:first-child,th:first-child{text-align:left;white-space:normal;min-width:4.5rem}
figure{margin:1rem 0;max-width:44rem}svg{width:100%;height:auto}svg text{font-size:14px;fill:#444}
.scroll svg text{font-size:12px}.fixed{max-width:none}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:.5rem}
.small figure{margin:0}.small svg text{font-size:11px}
.grid{stroke:#e3e3e3}.axis{stroke:#999}.whisker{stroke:#333;stroke-width:1.5}
.line{stroke-width:2}
.c0{stroke:#1f5fa8;fill:#1f5fa8}.c1{stroke:#c4571b;fill:#c4571b}
.c2{stroke:#2c8a4b;fill:#2c8a4b}.c3{stroke:#8a3ea8;fill:#8a3ea8}
.b0{stroke:#d9dde3}.b1{stroke:#c3cedb}.b2{stroke:#8fb0d3}.b3{stroke:#4a83bd}.b4{stroke:#0b4a8f}
.dim{fill-opacity:.55;stroke:none}polyline.line{fill:none}
.halo{paint-order:stroke;stroke:#fff;stroke-width:3px}
.key{margin-right:1rem;font-size:.9rem}
.key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem;border-radius:50%}
.key i.c0{background:#1f5fa8}.key i.c1{background:#c4571b}
.key i.c2{background:#2c8a4b}.key i.c3{background:#8a3ea8}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:#f6f6f6;padding:.75rem;overflow-x:auto}
.warn{color:#8a2f00}@media print{body{max-width:none}.scroll{overflow:visible}}
"""


def document(title: str, parts: Sequence[str]) -> str:
    """Return a page of these parts that makes no request and runs no script."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )


def short(value: object) -> str:
    """Return a setting's value as text, a number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def grid(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return a table; text is escaped."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in (name, *cells))}</tr>"
        for name, cells in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
