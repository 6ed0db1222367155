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
td:first-child,th:first-child{text-align:left;white-space:normal}
figure{margin:1rem 0;max-width:44rem}svg{width:100%;height:auto}svg text{font-size:14px;fill:#444}
.grid{stroke:#e3e3e3}.line{fill:none;stroke-width:2}
.c0{stroke:#1f5fa8;fill:#1f5fa8}.c1{stroke:#c4571b;fill:#c4571b}.c2{stroke:#2c8a4b;fill:#2c8a4b}
polyline.line{fill:none}.key{margin-right:1rem;font-size:.9rem}
.key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem;border-radius:50%}
.key i.c0{background:#1f5fa8}.key i.c1{background:#c4571b}.key i.c2{background:#2c8a4b}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:#f6f6f6;padding:.75rem;overflow-x:auto}
.warn{color:#8a2f00}@media print{body{max-width:none}.scroll{overflow:visible}}
"""


def grid(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return a table; text is escaped."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in (name, *cells))}</tr>"
        for name, cells in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
