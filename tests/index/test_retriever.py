"""The index in a LangChain chain."""

from __future__ import annotations

from pathlib import Path

from langchain_core.runnables import RunnableLambda
from made_cases import filled, make

from index.query import Query, Where
from index.retriever import CaseRetriever


def test_words_become_documents_that_name_their_case(tmp_path: Path) -> None:
    retriever = CaseRetriever(index=filled(tmp_path / "i", 12), k=2)
    chain = retriever | RunnableLambda(lambda documents: [document.metadata["id"] for document in documents])
    assert set(chain.invoke("hydrocephalus")) <= {"case-3", "case-7", "case-11"}
    first = retriever.invoke("meningioma")[0]
    assert first.metadata["diagnoses"] == ["meningioma"]
    assert first.metadata["similarity"] is None
    assert "IMPRESSION\nAppearances of meningioma." in first.page_content


def test_a_study_gives_similarities_and_keeps_its_patient_out(tmp_path: Path) -> None:
    case = make(0)
    about = Query(case.embedding, patient=case.patient)
    found = CaseRetriever(index=filled(tmp_path / "i", 12), about=about, where=Where(diagnosis="meningioma")).invoke("")
    assert {document.id for document in found} == {"case-4", "case-8"}
    assert all(document.metadata["similarity"] > 0 for document in found)
