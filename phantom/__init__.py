"""Simulated brain-MRI studies with known truth and reports."""
