"""What the site makes of links that leave docs/: the pages themselves are checked by ``sphinx-build -W``."""

from pathlib import Path

import links
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("folder", "given", "expected"),
    [
        ("", "[a page](tour.md#update-rules)", "[a page](tour.md#update-rules)"),
        ("howto", "[a page](../tour.md)", "[a page](../tour.md)"),
        ("", "[rules](../CONTRIBUTING.md#the-contracts)", "[rules](generated/contributing.md#the-contracts)"),
        ("howto", "[rules](../../CONTRIBUTING.md)", "[rules](../generated/contributing.md)"),
        ("", "[a program](../examples/search.py)", "[a program](../examples/search.py)"),
        ("", "[a folder](../minnet/layers)", "a folder (`minnet/layers`)"),
        ("", "[minnet/layers](../minnet/layers)", "`minnet/layers`"),
        ("", "[a page of a folder](../bench/README.md)", "a page of a folder (`bench/README.md`)"),
        ("generated", "[a page](../../docs/tour.md)", "[a page](../tour.md)"),
        ("", "[elsewhere](https://example.org)", "[elsewhere](https://example.org)"),
        ("", "![a figure](../examples/figures/digits.png)", "![a figure](../examples/figures/digits.png)"),
    ],
)
def test_a_link_leads_to_what_the_site_has(folder, given, expected):
    assert links.rewritten(given, DOCS, DOCS / folder) == expected


def test_pages_of_the_root_are_copied_with_their_links(tmp_path):
    docs = tmp_path / "docs"
    (docs / "generated").mkdir(parents=True)
    for name in links.COPIED:
        (tmp_path / name).write_text("[a](docs/tour.md) [b](#here) [c](https://example.org)", encoding="utf-8")
    links.copy_pages(docs)
    copy = (docs / "generated" / "contributing.md").read_text(encoding="utf-8")
    assert copy == "[a](../../docs/tour.md) [b](#here) [c](https://example.org)"
