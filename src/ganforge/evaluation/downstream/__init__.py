"""What a trained run is good for besides samples."""
