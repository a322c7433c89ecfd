"""The nouns of `gengfu`, which are loaded one by one."""

from click.testing import CliRunner

from app.cli import gengfu


def test_a_misspelt_noun_is_told_with_the_nearest_one() -> None:
    result = CliRunner().invoke(gengfu, ["retension", "run"])
    assert result.exit_code == 2
    assert "No such command 'retension'. Did you mean 'retention'?" in result.stderr


def test_a_noun_like_none_is_told_without_a_guess() -> None:
    result = CliRunner().invoke(gengfu, ["更夫"])
    assert result.exit_code == 2
    assert "No such command '更夫'." in result.stderr
    assert "Did you mean" not in result.stderr
