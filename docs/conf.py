"""The documentation site, made by Sphinx from the same Markdown that is read beside the code.

``python -m sphinx -W --keep-going -b html docs build/site`` builds it. A warning is an error: a page that no table of
contents has, a link that leads nowhere, a public name without a docstring that can be read.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "antistrophe"
author = "the antistrophe authors"
project_copyright = author
version = release = version_of("antistrophe")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["examples/*/*.py"]
suppress_warnings = ["config.cache"]

# --- Markdown ----------------------------------------------------------------------------------------------------

source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# --- docstrings --------------------------------------------------------------------------------------------------

default_role = "py:obj"
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
intersphinx_mapping: dict[str, tuple[str, str | None]] = {}

# --- the pages ---------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"antistrophe {release}"
html_show_sourcelink = False
html_copy_source = False

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
# Pages of the repository's root, by the page of the site that shows each.
ROOT_PAGES = {f"project/{name.lower()}": ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
_LINK = re.compile(r"\[(?P<words>[^\]]*)\]\((?P<path>[\w./-]+)(?P<anchor>#[\w-]+)?\)")
_FILE = re.compile(r"^```(?P<language>py(?:thon)?) (?:.* )?file=(?P<name>\S+).*$", re.MULTILINE)
_FORGE = re.compile(r"^\[.+\]: \.\./.*$", re.MULTILINE)  # `[1.0]: ../../compare/…`, which only the forge has


def _read(_app: Sphinx, page: str, source: list[str]) -> None:
    """Show the root's pages in place of those that stand for them, lead all links to a root's page there, and give a
    block that is a file the file's name as its caption."""
    shown = ROOT_PAGES.get(page, DOCS / f"{page}.md")
    if page in ROOT_PAGES:
        source[0] = shown.read_text("utf-8")

    def inside(link: re.Match[str]) -> str:
        target = (shown.parent / link["path"]).resolve()
        leads = {path: name for name, path in ROOT_PAGES.items()} | {ROOT / "README.md": "index"}
        if not target.exists():  # it is one of the forge: ../../security/advisories/new
            return link["words"]
        to = DOCS / f"{leads[target]}.md" if target in leads else target
        anchor = "" if target == ROOT / "README.md" else link["anchor"] or ""
        return f"[{link['words']}]({os.path.relpath(to, (DOCS / page).parent)}{anchor})"

    source[0] = _FILE.sub(r"```{code-block} python\n:caption: \g<name>\n", source[0])
    source[0] = _LINK.sub(inside, _FORGE.sub("", source[0]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this once."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
