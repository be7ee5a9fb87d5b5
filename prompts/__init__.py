"""Text as data: prompts and the reviewed table of diagnoses."""
