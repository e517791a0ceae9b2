"""The order in which a question is judged, charged for and answered."""
