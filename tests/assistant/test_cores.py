"""Processes beside each other do not fight for the cores."""

from __future__ import annotations

import multiprocessing
import os

import torch

from assistant.cores import THREADS, one_thread_each


def test_a_process_started_inside_computes_in_one_thread_and_nothing_stays_behind() -> None:
    before = {name: os.environ.get(name) for name in THREADS}
    with one_thread_each(), multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(torch.get_num_threads) == 1
        assert pool.map(os.getenv, THREADS) == ["1"] * len(THREADS)
    assert {name: os.environ.get(name) for name in THREADS} == before
