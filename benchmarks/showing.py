"""The tables that a person reads."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

LABELS = {
    "acks_per_s": "acknowledged a second, at most",
    "handoffs_per_s": "handoffs a second, all arrived",
    "ack_p50_ms": "acknowledge p50, half load (ms)",
    "ack_p99_ms": "acknowledge p99, half load (ms)",
    "e2e_p50_ms": "webhook → project tool p50, half load (ms)",
    "e2e_p99_ms": "webhook → project tool p99, half load (ms)",
    "ack_p50_ms_20": "acknowledge p50, 20 a second (ms)",
    "ack_p99_ms_20": "acknowledge p99, 20 a second (ms)",
    "e2e_p50_ms_20": "webhook → project tool p50, 20 a second (ms)",
    "e2e_p99_ms_20": "webhook → project tool p99, 20 a second (ms)",
    "cpu_s_per_1000": "CPU seconds per 1,000 handoffs",
    "idle_mb": "memory, idle (MB)",
    "peak_mb": "memory, at most (MB)",
    "cold_start_s": "cold start (s)",
    "lost": "lost",
    "doubled": "done twice",
    "refused": "not acknowledged",
}


def _figure(value: Any) -> str:
    if not isinstance(value, int | float) or value != value:  # noqa: PLR0124 (NaN: nothing arrived)
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def show(results: dict[str, Any]) -> None:
    """Print the figures, the bare job beside them."""
    machine = results["machine"]
    cases = [name for name in ("fat", "thin") if name in results]
    table = Table(title="One hub process, embedded store, over real HTTP")
    table.add_column("")
    for name in (*cases, "bare"):
        table.add_column(name, justify="right")
    for name, label in LABELS.items():
        row = [_figure(results[case].get(name)) for case in cases]
        table.add_row(label, *row, _figure(machine.get(f"bare_{name}")))
    bare = machine.get("bare_handoffs_per_s") or float("nan")
    table.add_row("share of the bare job", *(f"{(results[case]['handoffs_per_s'] or 0) / bare:.1%}" for case in cases), "100%")
    console = Console()
    console.print(table)
    loads = ", ".join(f"{one:.1f}" for one in machine["load_average"])
    console.print(
        f"{machine['system']}, Python {machine['python']}, {machine['cpus']} CPUs, durable write {machine['fsync_ms']:.2f} ms; "
        f"load and sink alone {machine['rig_per_s']:,.0f}/s; load average {loads}"
    )


def show_filled(figures: dict[str, Any], machine: dict[str, Any]) -> None:
    """Print what a long history costs."""
    stored, lost, doubled = (_figure(figures[name]) for name in ("stored", "lost", "doubled"))
    table = Table(title=f"An empty store, and one with {stored} deliveries and effects")
    for column in ("", "empty", "filled"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("handoffs_per_s", "cpu_s_per_1000", "cold_start_s", "peak_mb"):
        table.add_row(LABELS[name], *(_figure(figures[f"{name}_{when}"]) for when in ("empty", "filled")))
    console = Console()
    console.print(table)
    console.print(f"rate filled / empty {figures['rate_ratio']:.2f}, CPU filled / empty {figures['cpu_ratio']:.2f}")
    loads = ", ".join(f"{one:.1f}" for one in machine["load_average"])
    console.print(f"lost {lost}, done twice {doubled}; filled in {figures['filling_s']:,.0f} s; load average {loads}")


def show_soak(figures: dict[str, Any], wrong: list[str]) -> None:
    """Print what one hub held at first and at last, and what is wrong with that."""
    table = Table(title="One hub in ordinary weather")
    for column in ("", "after half of it", "at the end"):
        table.add_column(column, justify="right" if column else "left")
    for name, label in (
        ("handoffs", "handoffs"),
        ("memory_kb", "memory (KB)"),
        ("files", "open files"),
        ("threads", "threads"),
    ):
        table.add_row(label, _figure(figures[f"{name}_first"]), _figure(figures[f"{name}_last"]))
    console = Console()
    console.print(table)
    lost, doubled = _figure(figures["lost"]), _figure(figures["doubled"])
    console.print(
        f"memory grows by {figures['growth_kb_per_1000']:.0f} KB per 1,000 handoffs; lost {lost}, done twice {doubled}",
        *(f"WRONG: {one}" for one in wrong),
        sep="\n",
    )


def show_profile(name: str, profile: dict[str, Any], pieces: int) -> None:
    """Print where the hub's CPU time went, per 1,000 deliveries."""
    per = 1000 / pieces
    total = sum(profile["threads"].values())
    console = Console(width=130)
    for title, rows in (
        ("by thread", profile["threads"].items()),
        ("by step", profile["steps"].items()),
    ):
        table = Table(title=f"{name}: CPU seconds per 1,000, {title}")
        table.add_column(title.removeprefix("by "))
        table.add_column("s per 1,000", justify="right")
        table.add_column("share", justify="right")
        for key, seconds in sorted(rows, key=lambda row: -row[1]):
            table.add_row(key, f"{seconds * per:.3f}", f"{seconds / total:.1%}")
        console.print(table)
    for column, title in ((1, "with what they call"), (0, "themselves")):
        table = Table(title=f"{name}: functions, {title}")
        table.add_column("function")
        table.add_column("s per 1,000", justify="right")
        table.add_column("share", justify="right")
        for key, seconds in sorted(profile["functions"].items(), key=lambda row: -row[1][column])[:45]:
            table.add_row(key, f"{seconds[column] * per:.3f}", f"{seconds[column] / total:.1%}")
        console.print(table)
