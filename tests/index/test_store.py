"""What an index keeps, refuses, and survives."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_cases import DIM, ENCODER, SEQ_DIM, filled, make

import index.store
from index.case import Case
from index.errors import CorruptIndex, EncoderMismatch, IndexStoreError, NotAnIndex
from index.query import Query, Where
from index.store import CaseIndex
from index.vectors import Accelerator


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def nearest(index: CaseIndex, case: Case, k: int = 10) -> list[str]:
    return [hit.case.id for hit in index.search(Query(case.embedding), k)]


def brute_force(cases: list[Case], query: Case, k: int = 10) -> list[str]:
    cosines = np.stack([case.embedding for case in cases]) @ query.embedding
    return [cases[i].id for i in np.argsort(-cosines, kind="stable")[:k]]


def test_a_case_comes_back_as_it_went_in(tmp_path: Path) -> None:
    index, case = filled(tmp_path / "i", 3), make(1)
    found = index.get("case-1")
    assert replace(found, embedding=case.embedding, sequence_vectors=case.sequence_vectors) == case
    np.testing.assert_array_equal(found.sequence_vectors, case.sequence_vectors)
    np.testing.assert_allclose(found.embedding, case.embedding, atol=1e-7)


def test_search_equals_brute_force_before_and_after_compaction_and_removal(tmp_path: Path) -> None:
    index, cases = filled(tmp_path / "i", 60), [make(i) for i in range(60)]
    for query in (make(100), make(101), cases[5]):
        assert nearest(index, query) == brute_force(cases, query)
    more = [make(i) for i in range(200, 230)]
    index.add(more)  # these wait in the delta
    index.remove("case-5")
    cases = [case for case in [*cases, *more] if case.id != "case-5"]
    for stage in range(2):
        assert nearest(index, make(5)) == brute_force(cases, make(5)), stage
        assert nearest(CaseIndex.open(tmp_path / "i"), make(201)) == brute_force(cases, make(201)), stage
        index.compact()


def test_a_long_delta_is_folded_into_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index.store, "LARGEST_DELTA", 20)
    filled(tmp_path / "i", 50)
    file = Accelerator.read(tmp_path / "i" / "vectors.faiss", DIM)
    assert file is not None
    assert len(file.rows) == 50


def test_reading_leaves_every_byte_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "i"
    filled(folder)
    before = files(folder)
    opened = CaseIndex.open(folder)
    opened.search(Query(make(3).embedding, text='meningioma" OR NEAR('), 5)
    assert opened.verify().ok
    assert opened.info.count == len(opened) == 40
    assert files(folder) == before
    assert set(before) == {"index.sqlite", "vectors.faiss", "index.json"}


def test_a_folder_one_may_not_write_can_be_searched_and_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "i")
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    index = CaseIndex.open(tmp_path / "i")
    assert len(nearest(index, make(3))) == 10
    assert index.verify().ok
    with pytest.raises(IndexStoreError, match="read-only"):
        index.add([make(500)])


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "i", 2)
    CaseIndex.open(tmp_path / "i", ENCODER)
    with pytest.raises(EncoderMismatch, match="cannot be compared"):
        CaseIndex.open(tmp_path / "i", "f" * 64)


def test_what_is_not_an_index_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(NotAnIndex, match="prima index build"):
        CaseIndex.open(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(b"hello, this is no database at all" * 100)
    with pytest.raises(CorruptIndex):
        CaseIndex.open(tmp_path)
    (tmp_path / "index.sqlite").unlink()
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        db.execute("CREATE TABLE other (a)")
    db.close()
    with pytest.raises(NotAnIndex):
        CaseIndex.open(tmp_path)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "i", 2)
    with sqlite3.connect(tmp_path / "i" / "index.sqlite") as db:
        db.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    db.close()
    with pytest.raises(NotAnIndex, match="99"):
        CaseIndex.open(tmp_path / "i")


def test_adding_is_all_or_nothing(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 4)
    for bad in (
        make(1),
        make(9, embedding=np.zeros(DIM, np.float32)),
        make(9, id="../x"),
        make(9, sequence_vectors=np.zeros((1, SEQ_DIM), np.float32)),
    ):
        with pytest.raises(IndexStoreError):
            index.add([make(7), bad])
    assert index.ids() == ("case-0", "case-1", "case-2", "case-3")
    assert index.verify().ok


def test_an_index_is_not_created_over_another(tmp_path: Path) -> None:
    filled(tmp_path / "i", 2)
    with pytest.raises(IndexStoreError, match="Add to that index"):
        CaseIndex.create(tmp_path / "i", ENCODER, DIM, SEQ_DIM, "test")


@pytest.mark.parametrize("damage", ["missing", "garbage", "foreign"])
def test_a_lost_or_foreign_faiss_file_costs_time_and_not_truth(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "i")
    path = tmp_path / "i" / "vectors.faiss"
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"IxMp" + b"\xff" * 300)
    else:
        Accelerator.over(np.arange(1, 41), np.eye(40, DIM, dtype=np.float32)).write(path)
    index = CaseIndex.open(tmp_path / "i")
    assert nearest(index, make(3)) == brute_force([make(i) for i in range(40)], make(3))
    assert not index.verify().ok
    index.compact()
    assert index.verify().ok


def test_verify_names_the_case_that_was_tampered_with(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 5)
    with sqlite3.connect(tmp_path / "i" / "index.sqlite") as db:
        db.execute("UPDATE cases SET impression = 'Normal.' WHERE id = 'case-2'")
    db.close()
    assert index.verify().problems == ("case digests: case case-2 is not what was added",)


def test_other_openers_see_a_change_and_threads_may_search_meanwhile(tmp_path: Path) -> None:
    writer = filled(tmp_path / "i", 20)
    reader = CaseIndex.open(tmp_path / "i")
    assert nearest(reader, make(300), 1) != ["case-300"]
    wrong: list[BaseException] = []

    def search() -> None:
        try:
            for i in range(20):
                hits = reader.search(Query(make(i).embedding), 3)
                assert hits[0].case.id == f"case-{i}"
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(300, 310):
        writer.add([make(i)])
    for thread in threads:
        thread.join()
    assert not wrong
    assert nearest(reader, make(300), 1) == ["case-300"]


ENDLESS = """
import sys
from pathlib import Path
from index.store import CaseIndex
from made_cases import make
index = CaseIndex.open(Path(sys.argv[1]))
import index.rows as rows
insert = rows.insert
def loud(db, case, dim, seq_dim):
    insert(db, case, dim, seq_dim)
    print(case.id, flush=True)
rows.insert = loud
report = make(0).report
pictures = (("big", bytes(500_000)),)
index.add(make(1000 + i, pictures=pictures) for i in range(400))
"""


def test_kill_in_the_middle_of_add_leaves_the_index_of_before(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 30)
    before = index.info
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parents[2]), str(here.parent)])
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "i")]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "case-1200":
            break
    # 100 MB are in the transaction, more than SQLite's cache: pages of it are in the file already, and a journal to undo them beside it.
    assert any(path.name.endswith("-journal") for path in (tmp_path / "i").iterdir())
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    after = CaseIndex.open(tmp_path / "i")
    assert after.info == before
    assert after.verify().ok
    after.add([make(1000)])
    assert len(after) == 31


def test_search_waits_for_a_writer_and_does_not_fail(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 5)
    db = sqlite3.connect(tmp_path / "i" / "index.sqlite", isolation_level=None, check_same_thread=False)
    db.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, lambda: db.execute("COMMIT"))
    release.start()
    assert index.search(Query(make(1).embedding), 1)[0].case.id == "case-1"
    release.join()
    db.close()


def test_excluded_ids_never_return(tmp_path: Path) -> None:
    index = filled(tmp_path / "i", 10)
    hits = index.search(Query(make(3).embedding), 10, Where(exclude_ids=("case-3", "case-4")))
    assert {hit.case.id for hit in hits} == {f"case-{i}" for i in range(10)} - {"case-3", "case-4"}


def test_an_index_opens_where_simpleitk_was_imported_first() -> None:
    """Both libraries wrap C++ vectors with SWIG; whichever is imported first names the type of row numbers for both."""
    made = (
        "import SimpleITK, pathlib, numpy as np\n"
        "from index.vectors import Accelerator\n"
        "rows = np.array([3, 9], np.int64)\n"
        "print(Accelerator.over(rows, np.eye(2, 4, dtype=np.float32)).rows.tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", made], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert done.stdout.strip() == "[3, 9]"
