"""What MkDocs adds to docs/ for the site that `make docs` builds: README, results, leaderboard, reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from agents.report import results, tables

ROOT = Path(__file__).parents[1]
COPIED = ("CONTRIBUTING.md", "CHANGELOG.md", "results/RESULTS.md", "results/LOG.md", "results/BENCH.md")
LINKED = ("LICENSE", "CITATION.cff")  # from the README


def modules(package: str) -> list[str]:
    """The modules of a package, by name."""
    return [f"{package}.{path.stem}" for path in sorted((ROOT / package.replace(".", "/")).glob("[a-z]*.py"))]


REFERENCE = {  # the modules of each page
    "environments": [
        *(f"glimpse_env.{name}" for name in ("registry", "vector", "single", "custom", "wrappers", "tasks")),
        *(f"glimpse_env.{name}" for name in ("scores", "random", "worlds.scene", "worlds.digits")),
        *(f"glimpse_env.data.{name}" for name in ("own", "pairs", "captions")),
        *modules("glimpse_env.sensors"),
    ],
    "agents": ["agents.agent", "agents.parts.gaze", *modules("agents.models"), *modules("agents.cores")],
    "learning": ["agents.parallel", *modules("agents.learn")],
    "experiments": ["agents.experiments.experiment"],
}
LEADERBOARD = """# Leaderboard

Every agent on all frozen test scenes, the best first: the error in percent, with the gaze at the policy's
mean and a 95 % interval, that of several seeds where there are several. To add a row, score an agent of your
own on the same scenes ([An agent of your own](own-agent.md)). Sentences, trees and captions are scored by
other measures: see [Sentences](sentences.md) and [Captions](xu2015.md). [All rows](results/RESULTS.md) say
more.

"""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    made = {
        "index.md": (ROOT / "README.md").read_text(encoding="utf-8"),
        "leaderboard.md": LEADERBOARD + tables.leaderboard(results.read()),
        **{path: (ROOT / path).read_text(encoding="utf-8") for path in COPIED},
    }
    for page, named in REFERENCE.items():
        made[f"api/{page}.md"] = f"# {page.title()}\n\n" + "".join(f"::: {name}\n\n" for name in named)
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    for path in LINKED:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the repository has them -> as the site has them."""
    depth = "../" * page.file.src_uri.count("/")
    return re.sub(r"\]\((?:\.\./)?(?:docs/|(results/\w+\.md))", lambda m: f"]({depth}{m[1] or ''}", markdown)
