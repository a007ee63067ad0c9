"""What a run generates: samples, translations, figures."""
