"""The page at `/` and the demo at `/demo/`: static files and two small public answers for them."""
