"""The journal of an unfinished feature store: which of its shards are done."""

import json
from collections.abc import Mapping
from pathlib import Path

JOURNAL, PLAN = "journal.jsonl", "plan.json"


def journal(folder: Path) -> dict[int, Mapping[str, str]]:
    """Return the shards that are done according to the journal of an unfinished store."""
    file = folder / JOURNAL
    if not file.is_file():
        return {}
    done = {}
    for line in file.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # power was lost while it was written: that shard is made again
            continue
        done[int(entry["shard"])] = entry["digests"]
    return done
