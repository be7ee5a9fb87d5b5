"""`python -m assistant` is `prima`."""

from assistant.cli import main

main()
