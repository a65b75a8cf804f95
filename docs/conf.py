"""Sphinx: guides in Markdown, reference from docstrings; nothing is fetched."""

import sys
from pathlib import Path

import weightspace

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from catalogue import write_catalogue  # noqa: E402

write_catalogue(HERE / "reference" / "names.md")

project = "weightspace"
author = "The weightspace authors"
release = version = weightspace.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "verbs",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_heading_anchors = 3

autosummary_generate = True
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "notes_style")]
default_role = "code"

html_theme = "furo"
html_title = "weightspace"
html_show_copyright = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
