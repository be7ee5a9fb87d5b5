"""Study and cases in, checked report out."""
