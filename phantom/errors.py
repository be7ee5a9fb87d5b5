"""What can go wrong when phantoms are asked for.

PhantomError
├── UnknownDiagnosis   a name that no recipe draws
├── NoSuchCourse       a course that a disease does not take
└── OutputExists       a study folder that is already there
"""


class PhantomError(Exception):
    """Root of this package's errors; the message says what was expected, found, where, and what to do."""


class UnknownDiagnosis(PhantomError):
    """A name that no recipe draws."""


class OutputExists(PhantomError):
    """A study folder that is already there; nothing was written."""


class NoSuchCourse(PhantomError):
    """A course that a disease does not take, such as growth of an old infarct."""
