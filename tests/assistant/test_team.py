"""Processes that average their gradients: in an interpreter of their own, since they are forked."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run(body: str) -> subprocess.CompletedProcess[str]:
    script = """
        import torch
        from assistant.train.team import team
        torch.set_num_threads(2)
        big = torch.randn(512, 512)
        (big @ big).sum()  # threads have been used before the fork
        weight = torch.nn.Parameter(torch.ones(3))
        idle = torch.nn.Parameter(torch.ones(2))
        learner = torch.nn.ParameterList([weight, idle])
    """
    code = textwrap.dedent(script) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_gradients_are_the_mean_and_only_the_first_comes_out() -> None:
    done = run("""
        with team(2) as us:
            loss = (weight * (us.rank + 1)).sum() + (idle.sum() if us.rank else 0)
            (loss / us.size).backward()
            us.sum_gradients(learner)
            clock = torch.tensor(float(us.rank))
            us.mean(clock)
        print(us.rank, weight.grad.tolist(), idle.grad.tolist(), clock.item(), torch.get_num_threads())
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0 [1.5, 1.5, 1.5] [0.5, 0.5] 0.5 2"]


def test_a_process_that_stops_stops_the_other() -> None:
    done = run("""
        with team(2) as us:
            if us.rank:
                raise ValueError("the second gave up")
            us.mean(torch.ones(1))
        print("went on")
    """)
    assert done.returncode != 0
    assert "the second gave up" in done.stderr
    assert "went on" not in done.stdout


def test_one_process_is_no_team() -> None:
    done = run("""
        with team(1) as us:
            weight.sum().backward()
            us.sum_gradients(learner)
            clock = torch.tensor(4.0)
            us.mean(clock)
        print(us.size, weight.grad.tolist(), idle.grad, clock.item())
    """)
    assert done.stdout.splitlines() == ["1 [1.0, 1.0, 1.0] None 4.0"]
