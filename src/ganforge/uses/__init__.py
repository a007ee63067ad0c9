"""What a trained model is good for besides samples: features for classifiers, finding outliers."""
