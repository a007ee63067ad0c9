"""What a run is worth: scores with their protocols."""
