"""The index as a LangChain retriever."""

from __future__ import annotations

from dataclasses import replace

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from index.case import Neighbour
from index.query import Query, Where
from index.store import CaseIndex


class CaseRetriever(BaseRetriever):  # type: ignore[misc]  # langchain_core is not followed
    """Cases as documents: for the words asked and, where `about` names a study, for its images too.

    Metadata: id, similarity (None for a pure text hit), diagnoses, rank, why, source.
    """

    index: CaseIndex
    about: Query = Query()
    k: int = 5
    where: Where = Where()

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002
        asked = replace(self.about, text=query.strip() or None)
        return [document(neighbour) for neighbour in self.index.search(asked, self.k, self.where)]


def document(neighbour: Neighbour) -> Document:
    """A neighbour's findings and impression, with what identifies it."""
    case = neighbour.case
    text = f"FINDINGS\n{case.report.findings}\n\nIMPRESSION\n{case.report.impression}"
    metadata = {
        "id": case.id,
        "similarity": neighbour.similarity,
        "diagnoses": list(case.diagnoses),
        "rank": neighbour.rank,
        "why": neighbour.why,
        "source": case.source,
    }
    return Document(page_content=text, metadata=metadata, id=case.id)
