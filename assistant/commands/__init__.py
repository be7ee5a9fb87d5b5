"""The command line's verbs, one file each; heavy imports stay inside the functions."""
