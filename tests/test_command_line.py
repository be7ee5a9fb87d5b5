"""The command itself."""

from __future__ import annotations

import subprocess
import sys

from assistant.commands import (
    calibrate,
    convert,
    demo,
    doctor,
    encode,
    evaluate,
    explain,
    index,
    label,
    phantom,
    probe,
    read,
    report,
    serve,
    summarise,
    train,
)

VERBS = (calibrate, convert, demo, doctor, encode, evaluate, explain, index, label, phantom, probe, read, report, serve, summarise, train)


def test_help_imports_nothing_heavy_and_names_every_verb() -> None:
    """`except <packages' errors>` was once evaluated on the way out of --help too, and cost two seconds."""
    heavy = "{'torch', 'transformers', 'faiss', 'gradio', 'numpy'}"
    script = (
        "import sys\nfrom assistant.cli import main\nsys.argv = ['prima', '--help']\n"
        f"try:\n    main()\nfinally:\n    print('heavy:', sorted({heavy} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "heavy: []" in done.stdout
    assert all(verb.__name__.rpartition(".")[2] in done.stdout for verb in VERBS)
    assert done.returncode == 0


def test_bad_input_is_one_message_and_exit_code_2() -> None:
    done = subprocess.run([sys.executable, "-m", "assistant", "read", "/no/such/study"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("prima: ")
