"""Judging an encoder on labelled studies, never without the controls that expose one which ignores the image."""
