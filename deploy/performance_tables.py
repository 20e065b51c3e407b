"""The tables of docs/performance.md, each from the JSON of one benchmark or of several."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deploy.loadtest.serving import named

Document = Mapping[str, Any]
WIDTH: Final = 120
"""Columns of a line of prose."""


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def attention_table(results: Document) -> str:
    """One row per setting, a pair of columns per N: time over exact attention's, and error."""
    measured = {(one["attention"], one["tokens"]): one for one in results["measurements"]}
    tokens = sorted({count for _, count in measured})
    settings = [name for name in dict.fromkeys(name for name, _ in measured) if name != "exact"]
    exact = [f"{measured['exact', count]['milliseconds']['median']:.0f} ms" for count in tokens]
    rows = [["exact", *exact]]
    for name in settings:
        each = [measured[name, count] for count in tokens]
        rows.append([f"`{name}`", *(f"{one['time_ratio']:.2f}; {one['error']:.3f}" for one in each)])
    columns = ["attention", *(f"N = {count}" for count in tokens)]
    return f"{markdown(columns, rows)}\n\n{_pays(measured, settings, tokens)}"


def _pays(measured: Mapping[tuple[str, int], Document], settings: Sequence[str], tokens: Sequence[int]) -> str:
    parts = []
    for name in settings:
        faster = [count for count in tokens if measured[name, count]["time_ratio"] < 1]
        parts.append(f"`{name}` {f'from N = {faster[0]} on' if faster else 'nowhere'}")
    return textwrap.fill(f"Of the measured sizes, faster than exact attention: {', '.join(parts)}.", WIDTH)


def auto_table(results: Document) -> str:
    """One row per rule: the largest regret of the encoder's time, by size."""
    sizes = results["sizes"]
    rules = list(sizes[0]["rows"][0]["always"])
    columns = ["rule", *(f"{one['rows'][0]['tokens']} to {one['rows'][-1]['tokens']} tokens" for one in sizes)]
    rows = [["`auto`", *(f"{max(row['encoder_regret'] for row in one['rows']):.0%}" for one in sizes)]]
    for rule in rules:
        regrets = (f"{max(row['always'][rule] for row in one['rows']):.0%}" for one in sizes)
        rows.append([f"always `{rule}`", *regrets])
    return markdown(columns, [[cell.replace("%", " %") for cell in row] for row in rows])


def throughput_table(networks: Mapping[str, Document]) -> str:
    """One row per engine, a column per network: seconds an image, and how many times as fast as transformers."""
    times = {name: _seconds(document) for name, document in networks.items()}
    engines = dict.fromkeys(engine for each in times.values() for engine in each)
    rows = [[engine.replace(", ", ", `") + "`" * (", " in engine), *_speeds(engine, times)] for engine in engines]
    missing = {f"{name}: {why}" for document in networks.values() for name, why in document["unavailable"].items()}
    columns = ["engine", *(f"{name.upper().replace('-', ', ')}" for name in networks)]
    table = markdown(columns, rows)
    return f"{table}\n\nNot run: {'; '.join(sorted(missing))}." if missing else table


def _seconds(document: Document) -> dict[str, float]:
    """Return the seconds of an image by engine."""
    batch = 1e3 * document["batch"]
    return {row["engine"]: row["milliseconds_per_batch"]["median"] / batch for row in document["engines"]}


def _speeds(engine: str, times: Mapping[str, Mapping[str, float]]) -> list[str]:
    cells = []
    for of_network in times.values():
        own, theirs = of_network.get(engine), of_network.get("transformers")
        ratio = "" if own is None or theirs is None else f"; {theirs / own:.2f}"
        cells.append("-" if own is None else f"{own:.3g} s{ratio}")
    return cells


def serving_table(results: Document) -> str:
    """One row per number of threads and way to run."""
    rows = [
        [
            str(row["threads"]),
            named(row["how"], row["callers"], row["streams"]),
            f"{row['images_per_s']:.1f}",
            f"{row['share']:.2f}",
            f"{row['ms']:.0f}",
            "-" if row.get("beyond_ms") is None else f"{row['beyond_ms']:.1f}",
        ]
        for row in results["rows"]
    ]
    return markdown(["CPU threads", "images", "a second", "share", "median ms", "beyond its stages, ms"], rows)


def startup_table(results: Document) -> str:
    """A sentence."""
    return (
        f"The first start was ready after {results['first_s']:.1f} s, later ones after "
        f"{results['later_median_s']:.1f} s (median of {len(results['ready_s']) - 1})."
    )


def peers_table(results: Document) -> str:
    """One row per server: its best closed loop, latencies with most callers, goodput at each load, memory."""
    rows, servers = results["rows"], list(results["ready_s"])
    callers = max(row["callers"] for row in rows if "callers" in row)
    loads = sorted({row["load"] for row in rows if "load" in row})
    lines = []
    for server in servers:
        own = [row for row in rows if row["server"] == server]
        closed = [row for row in own if "callers" in row]
        most = next(row for row in closed if row["callers"] == callers)
        goodput = {row["load"]: f"{row['goodput_per_s']:.1f}" for row in own if "load" in row}
        lines.append(
            [
                server,
                f"{max(row['images_per_s'] for row in closed):.1f}",
                ", ".join("-" if most["ms"][q] is None else f"{most['ms'][q]:.0f}" for q in ("p50", "p99")),
                *(goodput.get(load, "-") for load in loads),
                "-" if most["cpu_s_per_image"] is None else f"{most['cpu_s_per_image'] * 1e3:.0f}",
                f"{max(row['peak_mb'] for row in own):.0f}",
            ]
        )
    deadline = results["settings"]["deadline_s"]
    columns = ["server", "images/s", f"p50, p99 of {callers} callers, ms"]
    columns += [f"in {deadline:g} s at load {load:g}, /s" for load in loads]
    table = markdown([*columns, "CPU ms an image", "peak MB"], lines)
    ratios = [f"{name} {value:.2f}" for name, value in results["ratios"].items() if value is not None]
    return f"{table}\n\nOurs over the best peer: {', '.join(ratios)}." if ratios else table


def sources_table(results: Mapping[str, Document]) -> str:
    """One row per result: when, on which processor, from which commit, by which command."""
    rows = []
    for name, document in results.items():
        environment = document.get("environment", document)
        commit, _, changed = environment["commit"].partition("+")
        processor = " with ".join(filter(None, (environment["device"], environment.get("instructions"))))
        rows.append(
            [
                name,
                environment["date"][:10],
                f"{processor}, torch {environment['torch'].partition('+')[0]}",
                commit[:7] + ("+" if changed else ""),
                f"`{environment['command']}`",
            ]
        )
    return markdown(["result", "date", "measured on", "commit", "command"], rows)
