"""The README's own code, run as it stands, and its table as report.py prints it."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from agents.report import memory, results, tables
from glimpse_env import TABLE
from glimpse_env.vector import KEYWORDS
from glimpse_env.worlds.choose import TEXTS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [code for name, code in fenced if name == language]


def test_the_python_block_runs_as_promised() -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code, names)
    shapes = {key: value.shape for key, value in names["observation"].items()}  # type: ignore[attr-defined]
    assert shapes == {"retina": (256, 3, 12, 12), "gaze": (256, 2), "time": (256, 1)}


def test_the_shell_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, train = blocks("sh")
    targets = re.findall(r"^make (\w+)", make, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert all(f"\n{target}: " in makefile for target in targets)
    assert train.count("--epochs 2 ") == 2
    train = train.replace("--epochs 2 ", "--epochs 2 --images-per-epoch 2048 ")  # all else as it stands
    monkeypatch.chdir(tmp_path)  # so that no run folder is left in the checkout
    for line in train.splitlines():
        python, script, *arguments = shlex.split(line, comments=True)
        assert python == "python"
        assert (ROOT / script).is_file()
        importlib.import_module(Path(script).stem).main(arguments)
    assert (tmp_path / "episode.gif").stat().st_size > 10_000
    assert (tmp_path / "random.png").stat().st_size > 10_000
    assert (tmp_path / "episode.html").stat().st_size > 10_000


def inside(text: str, which: str) -> str:
    """What stands between a report's markers."""
    return text.split(f"<!-- {which}: begin -->\n")[1].split(f"\n<!-- {which}: end -->")[0]


def test_the_results_are_what_report_prints() -> None:
    lines = results.read()
    everything = (ROOT / "results" / "RESULTS.md").read_text(encoding="utf-8")
    assert inside(README, "report.py --best") == tables.best_table(lines)
    assert inside(everything, "report.py") == tables.table(lines)
    told = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    wanted = f"{memory.memory_tables(lines)}\n\n{memory.stages('char-lstm')}"
    assert inside(told, "report.py --memory") == wanted
    others = {"--ablations": tables.ablation_table(lines), "--nats": tables.nats_table(lines)}
    others["--sentences"] = tables.sentence_table(lines)
    judged = results.read(results.JUDGEMENTS, ())
    others["--captions"] = "\n\n".join([tables.caption_table(lines, judged), tables.judgement_table(judged)])
    for task in ("Glimpse/ClutteredMNIST100-v0", "Glimpse/HouseNumbers-v0"):
        others[f"--on {task}"] = tables.table(results.with_errors_on(lines, task), best_first=True)
        (best,) = [row for row in tables.best_table(lines).splitlines() if row.startswith(f"| {task[8:]} |")]
        for name in (best.split(" | ")[1], best.split(" | ")[3]):
            assert f"\n| {name.partition(' ')[0]} " in others[f"--on {task}"]
    for which, table in others.items():
        assert inside(everything, f"report.py {which}") == table


@pytest.mark.parametrize("env_id", sorted(TABLE))
def test_the_table_of_ids_is_the_registry(env_id: str) -> None:
    config = TABLE[env_id]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{env_id}`")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    if config.scene in TEXTS:
        one = "word piece" if config.scene == "sentences" else "word"
        seen = one.split()[-1] + ("" if config.retina_size == 1 else "s")
        most = "up to " if config.task == "read" else ""
        assert cells[1:] == [
            f"{config.canvas_size} {one}s",
            "–",
            f"{config.retina_size} {seen}",
            f"{most}{config.horizon}",
        ]
        return
    most = "up to " if config.scene in ("houses", "captions") else ""
    scales = "1 scale" if config.scales == 1 else f"{config.scales} scales"
    assert cells[1:] == [
        f"{config.canvas_size}x{config.canvas_size}",
        str(config.distractors or "–"),
        f"{config.retina_size}x{config.retina_size}, {scales}",
        f"{most}{config.horizon}",
    ]


def test_the_file_tree_is_complete() -> None:
    (tree,) = [block for block in blocks("") if "registry.py" in block]
    named = set(re.findall(r"\w+\.py", tree))
    files = {path.name for folder in ("glimpse_env", "agents") for path in (ROOT / folder).rglob("*.py")}
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    benches = {name for name in scripts if name.startswith("bench_")}  # which are named together
    assert files | scripts - benches - {"__init__.py"} <= named | {"__init__.py"}
    assert named <= files | scripts


PAGES = [
    path.relative_to(ROOT) for which in ("*.md", "docs/*.md", "results/*.md") for path in ROOT.glob(which)
]


@pytest.mark.parametrize("page", sorted(map(str, PAGES)))
def test_what_pages_link_to_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_keyword_is_explained() -> None:
    text = (ROOT / "docs" / "keywords.md").read_text(encoding="utf-8")
    explained = set(
        re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in text.splitlines() if "|" in line))
    )
    assert explained - {"keyword"} == {*KEYWORDS, "autoreset_mode"}  # which make_vec has besides
