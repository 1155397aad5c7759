"""The Python blocks of the README and of the pages in docs/ run as they stand, and their links lead somewhere."""

import re
from functools import cache
from pathlib import Path

import pages
import pytest
from pages import blocks_of

import minnet as mn

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name not in ("generated", "out"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, ROOT / "bench" / "README.md"]
IN_ORDER = [page for page in DOCS if (page.parent.name != "docs" or page.name == "start.md") and blocks_of(page)]

BLOCKS = [(page, block) for page in PAGES if page not in IN_ORDER for block in blocks_of(page)]
IDS = [f"{page.stem}-{number}" for page in PAGES if page not in IN_ORDER for number, _ in enumerate(blocks_of(page), 1)]


@cache
def run(page, block):
    """Run a block, once, as a program of its own: compiled kernels are kept beside the file that defines them."""
    if "steps=900" in block:  # a convolutional network: a tenth of its run shows that it runs
        block = block.replace("steps=900", "steps=90").replace("epochs=20", "epochs=2")
    program = Path(f"{page.stem}.py").absolute()
    program.write_text(block, encoding="utf-8")
    names = {"__name__": "__main__"}
    exec(compile(block, str(program), "exec"), names)  # raises where the block does
    return names


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=IDS)
def test_a_code_block_runs(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, block)


NEEDED = {"scikit-learn": "sklearn"}  # pages about an extra, and the package that they import


@pytest.mark.parametrize("page", IN_ORDER, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_in_order_and_print_what_it_shows(page, tmp_path, monkeypatch):
    if page.stem in NEEDED:
        pytest.importorskip(NEEDED[page.stem], reason=f"{page.name} needs an extra that is not installed")
    monkeypatch.chdir(tmp_path)
    threads = mn.get_num_threads()
    try:
        said = list(pages.run_in_order(page, tmp_path))
    finally:
        mn.set_num_threads(threads)
    for number, (output, (_, shown)) in enumerate(zip(said, pages.printed_on(page), strict=True), 1):
        if shown is not None:
            assert pages.skeleton(output) == pages.skeleton(shown), f"block {number}"
    for figure in pages.figures_of(page):
        assert (tmp_path / figure.name).exists(), f"no block writes {figure.name}"
        assert figure.stat().st_size < 60_000


def test_every_chapter_has_a_figure_exercises_and_what_goes_wrong():
    chapters = [page for page in DOCS if page.parent.name == "tutorial"]
    assert len(chapters) == 6
    for page in chapters:
        assert pages.figures_of(page)
        assert {"what-goes-wrong", "exercises"} <= anchors(page)


def test_the_rule_of_ones_own_trains_its_network_and_stands_in_the_comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tour.md"
    (block,) = [block for block in blocks_of(page) if "(mn.Rule)" in block]
    names = run(page, block)
    assert names["net"].evaluate(*names["val"])["accuracy"] > 0.98
    body = block[block.index("    beta: float") : block.index("params, grads = ")].strip()
    assert 5 < len(body.splitlines()) <= 15
    assert body in (ROOT / "examples" / "update_rules.py").read_text(encoding="utf-8")


def test_the_readme_opens_with_two_commands_of_one_line_each():
    first = README.read_text(encoding="utf-8").split("```")[1].strip().splitlines()
    assert [line.split(" && ")[1].split()[0] for line in first] == ["python", "pytest"]


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def anchors(page):
    """The anchors that GitHub gives to a page's headings: lower case, hyphens for spaces, no other punctuation."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_of_the_documentation_is_linked_from_the_readme_or_its_own_index():
    links = set(re.findall(r"\]\(docs/([\w/-]+\.md)", README.read_text(encoding="utf-8")))
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    inside = {str(page.relative_to(ROOT / "docs")) for page in DOCS}
    assert {page for page in inside if "/" not in page} <= links
    assert set(re.findall(r"\]\(([\w/-]+\.md)", index)) == inside - {"index.md"}
    trees = "\n".join(re.findall(r"^```{toctree}\n(.*?)^```", index, re.DOTALL | re.MULTILINE)).splitlines()
    assert {f"{line}.md" for line in trees if line and not line.startswith((":", "generated/"))} == inside - {
        "index.md"
    }


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.stem)
def test_paths_that_a_page_names_exist(page):
    paths = set(re.findall(r"\b(?:minnet|tests|bench|docs|examples)/[\w./-]*\w", page.read_text(encoding="utf-8")))
    written = {"examples/out", "bench/out", "docs/out", "docs/generated"}  # by the programs
    assert [p for p in sorted(paths) if not (ROOT / p).exists() and not p.startswith(tuple(written))] == []
