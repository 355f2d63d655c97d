"""`ser-hf push`: publishes a finished run as a model on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path


def push_run(run: Path, to: str | None, *, private: bool = False, dry_run: bool = False) -> dict:
    """Publish a run, or only list the files; return `{"repo_id", "url", "files": [{"path", "size"}], "size",
    "left_out", "personal"}`.

    Sizes are in bytes; `url`, of the commit, is null after a dry run.
    """
    from ..hub.push import push

    published = push(run, to or run.resolve().name, private=private or None, dry_run=dry_run)
    return {
        "repo_id": published.repo_id,
        "url": published.url,
        "files": [{"path": path, "size": size} for path, size in published.files.items()],
        "size": sum(published.files.values()),
        "left_out": list(published.left_out),
        "personal": list(published.personal),
    }


def to_table(published: dict) -> str:
    """Return text: one file per line with its bytes, their sum, files that are not published, and the URL."""
    lines = [(f"{file['size']:,}", file["path"]) for file in published["files"]]
    lines.append(
        (f"{published['size']:,}", f"in all, {'to' if published['url'] is None else 'in'} {published['repo_id']}")
    )
    width = max(len(size) for size, _ in lines)
    text = [f"{size.rjust(width)}  {what}" for size, what in lines]
    if published["left_out"]:
        text.append(f"not published: {', '.join(published['left_out'])}")
    text += [f"personal data: {sentence}" for sentence in published["personal"]]
    return "\n".join([*text, published["url"] or "dry run: nothing was sent"])
