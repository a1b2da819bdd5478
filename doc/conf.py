"""Sphinx settings. Nothing here reaches for the network."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes

project = "skrobust"
copyright = "2026, skrobust developers"
author = "skrobust developers"
release = version_of("skrobust")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

autosummary_generate = True
autosummary_ignore_module_all = False  # __all__ says what is public
autodoc_typehints = "none"  # numpydoc sections say it
numpydoc_show_class_members = True
numpydoc_show_inherited_class_members = True
numpydoc_class_members_toctree = False
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": str(Path("..") / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"demo\.py",
    "doc_module": ("skrobust",),
    "backreferences_dir": None,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skrobust {release}"
html_theme_options = {
    "github_url": "https://github.com/skrobust/skrobust",
    "navbar_align": "left",
    "show_toc_level": 2,
}

# Docstrings inherited from scikit-learn refer to pages of its own.
SKLEARN = "https://scikit-learn.org/stable"
SKLEARN_PAGES = {
    "accuracy_score": "modules/model_evaluation.html#accuracy-score",
    "r2_score": "modules/model_evaluation.html#r2-score",
    "metadata_routing": "metadata_routing.html",
    "meta-estimator": "glossary.html#term-meta-estimator",
    "df_output_transform": "modules/df_output_transform.html",
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html"
    ),
}


def refer_to_sklearn(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Resolve the labels of scikit-learn's pages that its docstrings mention."""
    page = SKLEARN_PAGES.get(node.get("reftarget"))
    if page is None:
        return None
    uri = f"{SKLEARN}/{page}"
    return nodes.reference("", "", content, internal=False, refuri=uri)


def setup(app: Any) -> None:
    """Connect to Sphinx."""
    app.connect("missing-reference", refer_to_sklearn)
