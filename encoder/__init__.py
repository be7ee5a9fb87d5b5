"""One study in, features out: reading, patching, tokenising, encoding, locating."""
