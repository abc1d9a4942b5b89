"""Steps a second of every recurrent core, forward and backward, beside torch's fused LSTM and RNN."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from agents.cores import KINDS, make_core
from agents.device import computes_bfloat16

STEPS, BATCH, WIDTH, REPEATS = 100, 128, 128, 5


def bench_cores() -> None:
    """Print a Markdown table: thousand tokens (steps of one row) a second, and the ratio to torch's LSTM."""
    torch.set_num_threads(1)
    low = computes_bfloat16(torch.device("cpu"))
    print(f"T = {STEPS}, B = {BATCH}, {WIDTH} inputs and units, one core; a step of one row is a token")
    print("| core | thousand tokens/s | of torch's LSTM | unroll against step by step | in bfloat16 |")
    print("|---|---:|---:|---:|---:|")
    lstm = speed(nn.LSTM(WIDTH, WIDTH))
    for name, module in (("torch.nn.LSTM", None), ("torch.nn.RNN", nn.RNN(WIDTH, WIDTH))):
        rate = lstm if module is None else speed(module)
        print(f"| {name} | {rate:,.0f} | {rate / lstm:.2f}x | | |", flush=True)
    for kind in KINDS:
        core = make_core(kind, WIDTH, WIDTH, STEPS)
        rate, stepped = speed(core), speed(core, stepped=True)
        half = f"{speed(core, bfloat16=True):,.0f}" if low else "–"
        print(
            f"| {kind} | {rate:,.0f} | {rate / lstm:.2f}x | {rate / stepped:.1f}x | {half} |",
            flush=True,
        )


def speed(module: nn.Module, *, stepped: bool = False, bfloat16: bool = False) -> float:
    """Thousand tokens a second, the median of some passes: of a whole sequence, or step by step."""
    xs = torch.randn(STEPS, BATCH, WIDTH)
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            if isinstance(module, nn.RNNBase):
                ys = module(xs)[0]
            elif stepped:
                state, said = None, []
                for x in xs:
                    y, state = module(x, state)
                    said.append(y)
                ys = torch.stack(said)
            else:
                ys = module.unroll(xs, None)[0]  # type: ignore[operator]  # a Core's
        ys.float().square().mean().backward()
        seconds.append(time.perf_counter() - began)
    return STEPS * BATCH / statistics.median(seconds[1:]) / 1000
