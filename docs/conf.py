"""Settings of the documentation site: `sphinx-build -W -n docs out/site` builds it.

The pages are the Markdown files of this folder, which read well on GitHub, too. `_extensions` adds
what Sphinx lacks: pages of the API, notebooks made of the examples, and links that lead out of this
folder. CONTRIBUTING.md says why it is Sphinx.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from morphax import __version__  # noqa: E402

project, author = "morphax", "The morphax developers"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "repository_links",
    "docstrings",
    "api_pages",
    "code_links",
    "example_pages",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_extensions"]
templates_path = []

# Markdown: anchors are those of GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
myst_disable_syntax = ["myst_line_comment"]  # a line may begin with %, as in "5\n% of the pixels"

# Docstrings: single backquotes mean code, types stand in the signature.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
add_module_names = False
toc_object_entries_show_parents = "hide"

# Names of other libraries are not looked up: the build needs no network.
nitpick_ignore_regex = [(r"py:.*", r".*")]

html_theme = "sphinx_book_theme"
html_title = f"morphax {release}"
html_static_path = ["_static"]
html_css_files = ["morphax.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_persistent": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "home_page_in_toc": False,
    "show_toc_level": 2,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
