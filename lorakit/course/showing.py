"""What a cell shows while it runs, kept as a notebook keeps it: for the student to read, and no mark depends on it."""

from __future__ import annotations

from typing import Any

MOST_OUTPUT = 20_000  # characters kept of a cell


class Shown:
    """What a cell showed, as a notebook keeps it, up to `MOST_OUTPUT` characters."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.failed = False
        self.room = MOST_OUTPUT

    def take(self, kind: str, content: dict[str, Any]) -> bool:
        """Take in a message; True when it says that the cell is done."""
        if kind == "stream":
            self._text(str(content.get("name", "stdout")), str(content.get("text", "")))
        elif kind in ("execute_result", "display_data"):
            self._text("stdout", str(content.get("data", {}).get("text/plain", "")) + "\n")
        elif kind == "error":
            self.failed = True
            error = {key: content.get(key, "") for key in ("ename", "evalue", "traceback")}
            self.kept.append({"output_type": "error", **error})
        return kind == "status" and content.get("execution_state") == "idle"

    def _text(self, name: str, text: str) -> None:
        text, self.room = text[: self.room], max(0, self.room - len(text))
        if text and self.kept and self.kept[-1].get("name") == name:
            self.kept[-1]["text"] += text
        elif text:
            self.kept.append({"output_type": "stream", "name": name, "text": text})
