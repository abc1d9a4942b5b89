"""The tables that a report makes of results.jsonl, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from typing import Any

from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import to_config
from agents.learn.differentiable import Windows
from agents.learn.ppo import PPOLearner
from agents.learn.run import flat
from agents.report.results import Line, mean_and_interval, on_dataset, over_seeds, problem
from glimpse_env.registry import TABLE


def taught_by(name: str) -> str:
    """What an experiment learned from beside the labels of its own scenes, for the tables."""
    experiment = EXPERIMENTS.get(name)
    if experiment is None:
        return "–"
    if isinstance(experiment.learner, PPOLearner):
        return "reward alone"
    boxes = isinstance(experiment.learner, Windows) and experiment.learner.theta_weight > 0
    return f"labels{' and boxes' if boxes else ''}" + (f", from {experiment.init}" if experiment.init else "")


def table(lines: list[Line], best_first: bool = False) -> str:
    """A Markdown table, a row an experiment in their order: the latest figure of each seed and mode.

    One seed's interval is that of its test scenes (Wilson); of several seeds the row has the mean and
    Student's interval over seeds.
    """
    rows: dict[str, dict[str, dict[int, Line]]] = {}
    for line in lines:
        if line["metric"] == "test_error" and line["sees"] != "sequence":
            rows.setdefault(line["experiment"], {}).setdefault(line["mode"], {})[line["seed"]] = line
    check_whole(rows)
    out = [
        "| experiment | sees | taught by | glimpses | pixels | of canvas | parameters | minutes | seeds "
        "| paper | best public | test error % [95 % interval] | one sample | mean of 10 |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    order = {name: i for i, name in enumerate(EXPERIMENTS)}
    names = sorted(rows, key=lambda name: order.get(name, len(order)))
    if best_first:
        names.sort(key=lambda name: mean_and_interval(list(rows[name]["deterministic"].values()))[0])
    for name in names:
        modes = rows[name]
        seeds = modes["deterministic"]
        line = next(iter(seeds.values()))
        value, (low, high) = mean_and_interval(list(seeds.values()))
        sampled, mc10 = (
            f"{mean_and_interval(list(modes[mode].values()))[0]:.2f}" if mode in modes else "–"
            for mode in ("sampled", "mc10")
        )
        minutes = statistics.mean(line["minutes"] for line in seeds.values())
        out.append(
            f"| {name}{on_dataset(line)} "
            f"| {line['sees']}{' + context' if line['env'].get('context') else ''} "
            f"| {taught_by(name)} | {line['glimpses'] or '–'} | {line['pixels']:,} "
            f"| {100 * line['share']:.0f} % | {line['parameters']:,} | {minutes:.0f} | {len(seeds)} "
            f"| {_known(name, 'paper')} | {_known(name, 'best_public')} "
            f"| **{value:.2f}** [{low:.2f}, {high:.2f}] | {sampled} | {mc10} |"
        )
    return "\n".join(out)


def best_table(lines: list[Line]) -> str:
    """A Markdown table of the best row of each problem, by the mean gaze, of all agents that are trained."""
    out = [
        "| task | best agent that sees glimpses | test error % "
        "| best agent that sees the canvas | test error % |",
        "|---|---|---:|---|---:|",
    ]
    for task, rows in _by_problem(lines).items():
        cells = []
        for sees in ("glimpses", "canvas"):
            scored = {
                name: mean_and_interval(seeds)
                for name, seeds in rows.items()
                if seeds[0]["sees"] == sees and not name.endswith("-both")
            }
            if scored:
                name = min(scored, key=lambda name: scored[name][0])
                value, (low, high) = scored[name]
                view = " + context" if rows[name][0]["env"].get("context") else ""
                cells.append(
                    f"{name}{view}{on_dataset(rows[name][0])} | **{value:.2f}** [{low:.2f}, {high:.2f}]"
                )
            else:
                cells.append("– | –")
        out.append(f"| {task.removeprefix('Glimpse/')} | {' | '.join(cells)} |")
    return "\n".join(out)


def leaderboard(lines: list[Line]) -> str:
    """A Markdown section of each problem with a table of all that were scored on it, the best first."""
    sections = []
    for task, rows in _by_problem(lines).items():
        out = [
            f"## {task.removeprefix('Glimpse/')}\n",
            "| | agent | test error % | sees | of canvas | parameters |",
            "|---:|---|---:|---|---:|---:|",
        ]
        scored = {name: mean_and_interval(seeds) for name, seeds in rows.items()}
        for place, name in enumerate(sorted(scored, key=lambda name: scored[name][0]), 1):
            line, (value, (low, high)) = rows[name][0], scored[name]
            out.append(
                f"| {place} | {name}{on_dataset(line)} | **{value:.2f}** [{low:.2f}, {high:.2f}] "
                f"| {line['sees']}{' + context' if line['env'].get('context') else ''} "
                f"| {100 * line['share']:.0f} % | {line['parameters']:,} |"
            )
        sections.append("\n".join(out) + "\n")
    return "\n".join(sections)


def _by_problem(lines: list[Line]) -> dict[str, dict[str, list[Line]]]:
    """The latest line of each seed by the mean gaze, of each experiment, of each problem."""
    found: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        if line["metric"] == "test_error" and line["mode"] == "deterministic" and line["sees"] != "sequence":
            seeds = found.setdefault(problem(line), {}).setdefault(line["experiment"], [])
            seeds[:] = [one for one in seeds if one["seed"] != line["seed"]] + [line]
    return found


def ablation_table(lines: list[Line]) -> str:
    """A Markdown table of the ablations, best first: the latest of each, and what it changes of the base."""
    names = [name for name, experiment in EXPERIMENTS.items() if experiment.group == "ablations"]
    latest = {line["experiment"]: line for line in lines if line["experiment"] in names}

    def settings(name: str) -> dict[str, Any]:
        return flat(to_config("", EXPERIMENTS[name], None))

    base = settings("ablation-base")
    out = [
        "| ablation | changes | images | minutes | validation error % [95 % interval] |",
        "|---|---|---:|---:|---:|",
    ]
    for name, line in sorted(latest.items(), key=lambda item: item[1]["value"]):
        own = settings(name)
        changes = [f"{key} {own[key]}" for key in own if own[key] != base[key] and key != "images_per_epoch"]
        low, high = line["ci95"]
        out.append(
            f"| {name.removeprefix('ablation-')} | {', '.join(changes) or '–'} "
            f"| {own['epochs'] * own['images_per_epoch']:,} | {line['minutes']:.1f} "
            f"| **{line['value']:.2f}** [{low:.2f}, {high:.2f}] |"
        )
    return "\n".join(out)


def nats_table(lines: list[Line]) -> str:
    """A Markdown table of DRAW's losses in nats a picture: the latest of each, and whether it is a bound.

    The paper's have 64 steps and Larochelle's binarised MNIST; ours are drawn anew (BINARY_SEED).
    """
    pictures = [line for line in lines if line["sees"] != "sequence"]
    latest = {line["experiment"]: line for line in pictures if line["metric"] in ("nats", "cross_entropy")}
    out = [
        "| experiment | pixels | steps | parameters | minutes | paper, 64 steps | nats [95 % interval] |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, line in latest.items():
        low, high = line["ci95"]
        out.append(
            f"| {name}{on_dataset(line)} | {'binary' if line['metric'] == 'nats' else 'shades: no bound'} "
            f"| {line['glimpses']} | {line['parameters']:,} | {line['minutes']:.0f} "
            f"| {_known(name, 'paper')} | **{line['value']:.2f}** [{low:.2f}, {high:.2f}] |"
        )
    return "\n".join(out)


TEXT_COLUMNS = {  # metrics of texts: how a table of them is headed, and the modes of its columns
    "bleu": ("BLEU", {"greedy": "deterministic", "beam of 5": "beam"}),
    "f1": ("F1 of brackets, in percent", {"greedy": "deterministic", "beam of 5": "beam"}),
    "accuracy": ("right answers, in percent", {"right": "deterministic"}),
}


def sentence_table(lines: list[Line]) -> str:
    """Markdown tables of what is scored in BLEU, F1 or accuracy, best first: means of the latest figures."""
    out = []
    for metric, (heading, columns) in TEXT_COLUMNS.items():
        found = _text_figures(lines, metric)
        if not found:
            continue
        lower = {"lower case": ("beam, lower case", "lower case")} if metric == "bleu" else {}
        heads = [*columns, *lower]
        out += [
            f"{heading[0].upper()}{heading[1:]}:",
            "",
            f"| experiment | of | sees | parameters | minutes | seeds | {' | '.join(heads)} |",
            f"|---|---|---|---:|---:|---:|{'---:|' * len(heads)}",
        ]
        for name, modes in found.items():
            line = modes["deterministic"]
            wanted = [(mode,) for mode in columns.values()] + list(lower.values())
            cells = [_figure(modes, *names) for names in wanted]
            env, known = line["env"], TABLE.get(line["env_id"])
            of = env.get("pair") or env.get("dataset") or (known and (known.pair or known.dataset)) or "–"
            out.append(
                f"| {name} | {of} | {line['sees']} | {line['parameters']:,} | {line['minutes']:.0f} "
                f"| {line['seeds']} | {' | '.join(cells)} |"
            )
        out.append("")
    return "\n".join(out[:-1])


CAPTION_COLUMNS = {  # how a column of captions is headed, and its metric
    "BLEU-1": "bleu1", "BLEU-2": "bleu2", "BLEU-3": "bleu3", "BLEU-4": "bleu4", "METEOR": "meteor",
    "CIDEr": "cider",
}  # fmt: skip


def caption_table(lines: list[Line], judged: list[Line]) -> str:
    """Markdown tables of captions: of people's pictures by every metric, and where looks are.

    judged: lines of results/judgements.jsonl, of which those with `who` are what nobody trained.
    """
    found: dict[str, dict[str, Line]] = {}
    for line in lines:
        if line["metric"] in (*CAPTION_COLUMNS.values(), "entropy", "travel"):
            key = f"greedy {line['metric']}" if line["mode"] == "deterministic" else line["metric"]
            found.setdefault(line["experiment"], {})[key] = line
    out = [
        f"| captions by | sees | parameters | minutes | {' | '.join(CAPTION_COLUMNS)} | BLEU-4, greedy "
        "| entropy of looks, nats | travel of looks, widths |",
        f"|---|---|---:|---:|{'---:|' * (len(CAPTION_COLUMNS) + 3)}",
    ]
    check_whole(found, "bleu4", "greedy bleu4")
    for name, metrics in sorted(found.items(), key=lambda item: -item[1]["bleu4"]["value"]):
        line = metrics["bleu4"]
        cells = [_plain(metrics, metric, 1) for metric in CAPTION_COLUMNS.values()]
        cells[3] = "**{:.1f}** [{:.1f}, {:.1f}]".format(line["value"], *line["ci95"])
        out.append(
            f"| {name} | {line['sees']} | {line['parameters']:,} | {line['minutes']:.0f} "
            f"| {' | '.join(cells)} | {metrics['greedy bleu4']['value']:.1f} "
            f"| {_plain(metrics, 'entropy')} | {_plain(metrics, 'travel')} |"
        )
    for line in judged:
        if "who" in line:
            cells = [f"{line[one]:.1f}" if one in line else "–" for one in CAPTION_COLUMNS.values()]
            out.append(f"| {line['who']}, Flickr8k | – | – | – | {' | '.join(cells)} | – | – | – |")
    return "\n".join([*out, *_on_target(lines), *_mass_on_target(lines)])


def _on_target(lines: list[Line]) -> list[str]:
    """Rows of a table of what captioners get wrong and how often they look at what they name."""
    found: dict[str, dict[str, Line]] = {}
    for line in lines:
        if line["metric"] == "on_target":
            found.setdefault(line["experiment"], {})[line["mode"]] = line
    for line in lines:
        if line["experiment"] in found and line["mode"] == "deterministic":
            found[line["experiment"]]["error"] = line
    out = [
        "",
        "| experiment | sees | parameters | minutes | wrong, % | words on target, % | a word before, % |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    check_whole(found, "error", "on target", "on target, a word before")
    for name, parts in sorted(found.items(), key=lambda item: item[1]["error"]["value"]):
        line = parts["error"]
        cells = [_bold(one) for one in (line, parts["on target"], parts["on target, a word before"])]
        out.append(
            f"| {name} | {line['sees']} | {line['parameters']:,} | {line['minutes']:.0f} "
            f"| {' | '.join(cells)} |"
        )
    return out if found else []


def _mass_on_target(lines: list[Line]) -> list[str]:
    """Rows of a table of how much attention is on what is named, beside that of one look that never moves."""
    found: dict[str, dict[str, Line]] = {}
    for line in lines:
        if line["metric"] == "mass_on_target":
            found.setdefault(line["experiment"], {})[line["mode"]] = line
    out = [
        "",
        "| attention of | on what people name, % | of one look | on what it names itself, % | of one look |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, parts in found.items():
        row = f"| {name}"
        for mode in ("mass on target", "mass on target, own words"):
            still = f"{mode}, one look"
            if mode in parts:
                check_whole({name: parts}, still)
            row += f" | {_bold(parts[mode])} | {parts[still]['value']:.1f}" if mode in parts else " | – | –"
        out.append(f"{row} |")
    return out if found else []


def _bold(line: Line) -> str:
    """A figure with its interval."""
    return "**{:.2f}** [{:.2f}, {:.2f}]".format(line["value"], *line["ci95"])


def _plain(found: dict[str, Line], metric: str, digits: int = 2) -> str:
    """A figure without its interval, or a dash."""
    return f"{found[metric]['value']:.{digits}f}" if metric in found else "–"


def judgement_table(judged: list[Line]) -> str:
    """A Markdown table of how far metrics agree with experts, best first."""
    metrics = sorted((line for line in judged if "tau_c" in line), key=lambda line: -line["tau_c"])
    out = ["| metric | tau_c here | published |", "|---|---:|---:|"]
    for line in metrics:
        out.append(f"| {line['metric']} | {line['tau_c']:.1f} | {line['published'] or '–'} |")
    return "\n".join(out)


def figures_of(lines: list[Line], env_id: str, metric: str) -> dict[str, float]:
    """The latest figure of each experiment on an id's own data, with a beam where it has one, best first."""
    own = [line for line in lines if line["env_id"] == env_id and not line["env"]]
    return {name: _best_of(modes)["value"] for name, modes in _text_figures(own, metric).items()}


def _text_figures(lines: list[Line], metric: str) -> dict[str, dict[str, Line]]:
    """The latest figures of each experiment by their modes, means over `seeds`, best experiment first."""
    latest: dict[str, dict[str, dict[int, Line]]] = {}
    for line in lines:
        if line["metric"] in (metric, f"{metric}_lc"):
            modes = latest.setdefault(line["experiment"], {})
            modes.setdefault(line["mode"], {})[line["seed"]] = line
    check_whole(latest)
    found = {
        name: {mode: over_seeds(list(seeds.values())) for mode, seeds in modes.items()}
        for name, modes in latest.items()
    }
    return dict(sorted(found.items(), key=lambda item: -_best_of(item[1])["value"]))


def check_whole(rows: Mapping[str, Collection[str]], *figures: str) -> None:
    """Raise ValueError for an experiment without one of its figures, or the main one where none is named."""
    for name, modes in rows.items():
        for figure in figures or ("deterministic",):
            if figure not in modes:
                raise ValueError(
                    f"{name} has no figure {figure!r}: restore the file, or publish the experiment anew"
                )


def _best_of(modes: dict[str, Line]) -> Line:
    return modes.get("beam", modes["deterministic"])


def _figure(modes: dict[str, Line], *names: str) -> str:
    line = next((modes[name] for name in names if name in modes), None)
    if line is None:
        return "–"
    low, high = line["ci95"]
    return f"**{line['value']:.2f}** [{low:.2f}, {high:.2f}]"


def _known(name: str, what: str) -> str:
    """The paper's figure, or that of the best public code, of an experiment, or a dash."""
    figure = getattr(EXPERIMENTS.get(name), what, None)
    return "–" if figure is None else f"{figure:.2f}"
