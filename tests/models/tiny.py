"""Small models that learn the synthetic corpus in half a minute: what is built, and how it is trained."""

LEARNERS = {
    "attentive-whisper": (
        {"name_or_path": "tiny-whisper", "settings": {"pooling": "attentive"}},
        {"num_train_epochs": 14, "learning_rate": 3e-3, "per_device_train_batch_size": 16, "warmup_steps": 0.1},
    ),
}
