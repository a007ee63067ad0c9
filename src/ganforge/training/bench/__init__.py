"""Speed: trainings timed next to plain loops around the same networks."""
