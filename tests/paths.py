"""Where the checkout is: apart from conftest.py, which takes seconds to import in each process."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
