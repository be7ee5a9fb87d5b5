"""What can go wrong between a path and its features.

EncoderError
├── StudyError        a path that holds no usable MRI study
│   └── UnsafeArchive a zip that escapes its folder or unpacks to too much
├── WeightsError      weights that are missing, foreign, incomplete or hostile
└── ExplainError      a score that cannot be explained
"""


class EncoderError(Exception):
    """Root of this package's errors; the message says what was expected, found, where, and what to do."""


class StudyError(EncoderError):
    """A path that holds no usable MRI study."""


class UnsafeArchive(StudyError):
    """A zip that names files outside itself or unpacks to more than the limit."""


class WeightsError(EncoderError):
    """Weights that are missing, foreign, incomplete or hostile."""


class ExplainError(EncoderError):
    """A score that cannot be explained: an unknown name, a head that was not trained, an encoder without tokens."""
