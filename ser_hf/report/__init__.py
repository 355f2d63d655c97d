"""Reports of prediction tables, in every form. Names are resolved on first use."""
