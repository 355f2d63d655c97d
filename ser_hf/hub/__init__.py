"""The Hugging Face Hub: saving a run as a Hub folder, its card, what may be published, and the push."""
