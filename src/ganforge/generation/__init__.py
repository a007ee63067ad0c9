"""What a run makes: samples, translations, figures."""
