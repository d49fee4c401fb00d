"""From a question to an answer: keys, questions, reports, formats."""
