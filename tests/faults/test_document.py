"""docs/reliability.md names a test for every fault; each of them has to be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_is_named_is_there() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > 30
    files = [(path, path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    for file, test in named:
        sources = [source for path, source in files if str(path.relative_to(ROOT)).endswith(f"/{file.rsplit('/')[-1]}")]
        assert sources, f"{file} is not there"
        if test:
            assert any(re.search(rf"def {test}\(", source) for source in sources), f"{file}::{test} is not there"
