"""Reports of prediction tables, in every form."""
