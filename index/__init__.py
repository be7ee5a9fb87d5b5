"""Features and reports in, similar cases out."""
