"""Our language model as a LangChain chat model, so that it and `ChatOpenAI` fit the same place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from assistant.llm import LanguageModel
from encoder.features import StudyFeatures

ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class StudyChatModel(BaseChatModel):  # type: ignore[misc]  # langchain_core is not followed
    """A LanguageModel behind LangChain's interface; `bind(features=..., seed=..., halt=...)` is a call's study, seed and stop."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    language_model: LanguageModel
    max_tokens: int = 160
    temperature: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "prima"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        features: StudyFeatures | None = None,
        seed: int = 0,
        halt: threading.Event | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """The reply in pieces; `stop` strings end it before they appear."""
        told = [{"role": ROLES.get(message.type, "user"), "content": message.text} for message in messages]
        pieces = self.language_model.stream(told, features, seed=seed, max_tokens=self.max_tokens, temperature=self.temperature, stop=halt)
        for piece in _before(pieces, stop or []):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **bound: Any,
    ) -> ChatResult:
        text = "".join(str(chunk.message.content) for chunk in self._stream(messages, stop, run_manager, **bound))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])


def _before(pieces: Iterator[str], stops: list[str]) -> Iterator[str]:
    """The pieces up to the first stop string, holding back only what could be its beginning."""
    held, longest = "", max(map(len, stops), default=1) - 1
    for piece in pieces:
        held += piece
        found = [at for stop in stops if (at := held.find(stop)) >= 0]
        if found:
            yield held[: min(found)]
            return
        ready = len(held) - longest
        if ready > 0:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held
