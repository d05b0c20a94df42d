"""The package's own documentation: a page a module, from its docstrings, in the site of the paper."""

from pathlib import Path

import pdoc

TEMPLATES = Path(__file__).parent / "html" / "api"
LINK = ("api/lthdepth.html", "Package")  # for the top of the paper's pages


def render(site):
    """Write the folder `api/` of a site, whose `style.css` its pages share. Tasks are left out: `--help` tells of them."""
    pdoc.render.configure(template_directory=TEMPLATES, docformat="google", show_source=False, search=False)
    pdoc.pdoc("lthdepth", "!lthdepth.tasks", output_directory=Path(site) / "api")
    (Path(site) / "api" / "index.html").unlink()  # it only leads on to the package's page
