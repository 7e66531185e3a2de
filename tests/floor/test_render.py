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


@pytest.mark.parametrize("value", ["a b", "$(id)", "a;b", "", "a\nb", "'", '"', "`id`", "ü"])
def test_a_plain_word_is_one_or_an_error(tmp_path: Path, value: str) -> None:
    (tmp_path / "t.sh.j2").write_text('echo "{{ name | plain }}" {{ [name] | plain_words }}\n')
    assert render("t.sh", tmp_path, name="v3.5/x@1:2") == 'echo "v3.5/x@1:2" v3.5/x@1:2\n'
    with pytest.raises(InvalidInput, match="not a plain word"):
        render("t.sh", tmp_path, name=value)
