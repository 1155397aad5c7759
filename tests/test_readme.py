"""Every Python block of the README runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
PAGES = (README, README.with_name("GRADCHECK.md"))
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("block", BLOCKS, ids=[block.strip().splitlines()[0] for block in BLOCKS])
def test_a_code_block_of_the_readme_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})  # raises where the block does


def test_the_rule_of_ones_own_trains_its_network_and_stands_in_the_comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in BLOCKS if "(mn.Rule)" in block]
    names = {"__name__": "__main__"}
    exec(compile(block, "README.md", "exec"), names)
    assert names["net"].evaluate(*names["val"])["accuracy"] > 0.98
    body = block[block.index("    beta: float") : block.index("params, grads = ")].strip()
    assert 5 < len(body.splitlines()) <= 15
    assert body in (README.parent / "examples" / "update_rules.py").read_text()


def test_the_readme_opens_with_two_commands_of_one_line_each():
    first = README.read_text().split("```")[1].strip().splitlines()
    assert [line.split(" && ")[1].split()[0] for line in first] == ["python", "pytest"]


def test_figures_and_files_that_the_readme_names_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
