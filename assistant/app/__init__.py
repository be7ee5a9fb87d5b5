"""The Gradio page and its worker."""
