"""What can go wrong with an index.

IndexStoreError
├── NotAnIndex         the path holds no index of a known format
├── EncoderMismatch    the index was built by another encoder
└── CorruptIndex       SQLite and FAISS disagree, or a digest is wrong
"""


class IndexStoreError(Exception):
    """Root of this package's errors."""


class NotAnIndex(IndexStoreError):
    """The path holds no index of a known format."""


class EncoderMismatch(IndexStoreError):
    """The index was built by another encoder than the one asking."""


class CorruptIndex(IndexStoreError):
    """SQLite and FAISS disagree, or a digest is wrong."""
