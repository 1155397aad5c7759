"""The version stands in four files, and they agree."""

import re
import tomllib
from pathlib import Path

import minnet as mn

ROOT = Path(__file__).parents[2]


def test_every_file_names_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert mn.__version__ == project["version"] == citation[1]


def test_the_changelog_begins_with_this_version_or_with_what_comes_after_it():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", text, re.MULTILINE)
    released = [version for version, date in headings if date]
    assert released[0] == mn.__version__
    assert {version for version, date in headings if not date} <= {"Unreleased"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed"}
