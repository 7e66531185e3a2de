"""Templates: an unknown name is an error, and a value stays one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.render import render


def test_an_unknown_name_is_an_error_and_no_empty_word(tmp_path: Path) -> None:
    (tmp_path / "t.sh.j2").write_text("rm -rf {{ folder }}/{{ name | q }}\n")
    assert render("t.sh", tmp_path, folder="/a", name="b c; d") == "rm -rf /a/'b c; d'\n"
    with pytest.raises(InvalidInput, match="'folder' is undefined"):
        render("t.sh", tmp_path, name="b")
