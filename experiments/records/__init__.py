"""What remains of an experiment: files, pictures, tables in documents, and what made them."""
