"""What can go wrong between features and a report.

AssistantError
├── UsageError       the request cannot be carried out as asked
├── AdapterMismatch  the adapter belongs to another encoder, base model or prompt schema
└── DraftError       the language model's output could not be read as a draft
"""


class AssistantError(Exception):
    """Root of this package's errors."""


class UsageError(AssistantError):
    """The request cannot be carried out as asked."""


class AdapterMismatch(AssistantError):
    """The adapter belongs to another encoder, base model or prompt schema."""


class DraftError(AssistantError):
    """The language model's output could not be read as a draft."""
