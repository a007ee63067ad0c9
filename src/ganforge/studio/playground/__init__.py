"""The playground: trainings on 2-D points, side by side and in step, watched and stepped from the browser."""
