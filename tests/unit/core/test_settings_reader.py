"""Plain values into sections: what is taken, what is refused, and in which words."""

import copy
import json
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, field, structs

from app.core.errors import SettingsError
from app.core.measures import Age, Size
from app.core.secret import Secret
from app.core.settings_file import Before, Check, EnvironmentText, Section
from app.core.settings_reader import plain, read


def _even(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


class Child(Section):
    name: Annotated[str, Meta(min_length=1, max_length=9)]
    slug: Annotated[str, Meta(pattern=r"^[a-z]{1,5}\Z")] = "a"


class Parent(Section):
    number: Annotated[int, Meta(ge=1, le=9)] = 5
    share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    free: float = 0.0
    maybe: Annotated[int, Meta(ge=0)] | None = None
    on: bool = True
    mode: Literal["auto", "never"] = "auto"
    folder: Path = Path("var")
    secret: Secret = Secret()
    keep: Age = timedelta(days=1)
    cap: Size | None = None
    even: Annotated[int, Check(_even)] = 2
    words: Annotated[tuple[str, ...], Before(lambda v: [v] if isinstance(v, str) else v), Meta(min_length=1)] = ("x",)
    mixed: list[str | int] = field(default_factory=list)
    child: Child = Child(name="kind")
    children: list[Child] = field(default_factory=list)
    table: dict[str, Child] = field(default_factory=dict)
    levels: dict[Literal["low", "high"], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.number == 7 and not self.on:
            raise ValueError("number 7 needs on")


def refusal(values: Any) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        read(Parent, values)
    return str(refused.value).splitlines()


def test_nothing_given_gives_the_defaults() -> None:
    assert read(Parent, {}) == Parent()


@pytest.mark.parametrize(
    ("key", "given", "taken"),
    [
        ("number", 1, 1),
        ("number", 9, 9),
        ("share", 1, 1.0),
        ("maybe", None, None),
        ("maybe", 0, 0),
        ("folder", "/srv/图片", Path("/srv/图片")),
        ("secret", "geheim", Secret("geheim")),
        ("secret", Secret("geheim"), Secret("geheim")),
        ("keep", "90m", timedelta(minutes=90)),
        ("keep", timedelta(hours=2), timedelta(hours=2)),
        ("cap", "10KB", 10_000),
        ("words", "单", ("单",)),
        ("words", ["a", "b"], ("a", "b")),
        ("mixed", ["a", 3], ["a", 3]),
        ("child", {"name": "子"}, Child(name="子")),
        ("children", [{"name": "子"}, Child(name="b")], [Child(name="子"), Child(name="b")]),
        ("table", {"一": {"name": "子"}}, {"一": Child(name="子")}),
        ("levels", {"low": 1}, {"low": 1.0}),
    ],
)
def test_a_plain_value_is_taken(key: str, given: Any, taken: Any) -> None:
    made = getattr(read(Parent, {key: given}), key)
    assert made == taken
    assert type(made) is type(taken)


@pytest.mark.parametrize(
    ("key", "text", "taken"),
    [
        ("number", " 5 ", 5),
        ("number", "+5", 5),
        ("share", "0.25", 0.25),
        ("maybe", "3", 3),
        ("on", "FALSE", False),
        ("on", "0", False),
        ("on", "off", False),
        ("on", "no", False),
        ("on", "Yes", True),
        ("on", "1", True),
        ("mode", "never", "never"),
        ("folder", "123", Path("123")),
        ("secret", "123", Secret("123")),
        ("keep", "2w", timedelta(weeks=2)),
        ("cap", "512", 512),
        ("words", "true", ("true",)),
        ("words", '["a", "b"]', ("a", "b")),
        ("mixed", '["5", 5]', ["5", 5]),
        ("child", '{"name": "子"}', Child(name="子")),
        ("children", '[{"name": "5"}]', [Child(name="5")]),
    ],
)
def test_a_text_of_the_environment_is_read_as_what_is_wanted(key: str, text: str, taken: Any) -> None:
    made = getattr(read(Parent, {key: EnvironmentText(text)}), key)
    assert made == taken
    assert type(made) is type(taken)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"number": 0}, "number: 0 is no whole number from 1 to 9"),
        ({"number": 10}, "number: 10 is no whole number from 1 to 9"),
        ({"number": "5"}, "number: '5' is no whole number from 1 to 9"),
        ({"number": 5.5}, "number: 5.5 is no whole number from 1 to 9"),
        ({"number": True}, "number: true is no whole number from 1 to 9"),
        ({"number": None}, "number: null is no whole number from 1 to 9"),
        ({"share": 0}, "share: 0 is no number above 0 and at most 1"),
        ({"share": float("nan")}, "share: nan is no number above 0 and at most 1"),
        ({"free": float("nan")}, "free: nan is no number"),
        ({"free": float("inf")}, "free: inf is no number"),
        ({"maybe": -1}, "maybe: -1 is no whole number of at least 0"),
        ({"on": 1}, "on: 1 is neither true nor false"),
        ({"mode": "nevr"}, "mode: 'nevr' is none of 'auto', 'never' (did you mean \"never\"?)"),
        ({"mode": 5}, "mode: 5 is none of 'auto', 'never'"),
        ({"folder": 5}, "folder: 5 is no path"),
        ({"secret": 5}, "secret: needs a text"),
        ({"keep": "bald"}, "keep: 'bald' is no time span; write it like '30d', '24h', '90m' or '45s'"),
        ({"even": 3}, "even: 3 is odd"),
        ({"words": []}, "words: needs at least 1 of them, has 0"),
        ({"words": 5}, "words: 5 is no list"),
        ({"words": ["a", 5]}, "words.1: 5 is no text"),
        ({"mixed": [1.5]}, "mixed.0: 1.5 is no text and no whole number"),
        ({"child": 5}, "child: 5 is no table"),
        ({"child": {}}, "child.name: is missing, and has no default"),
        ({"child": {"name": ""}}, "child.name: '' is no text of at least 1 character and at most 9 characters"),
        ({"child": {"name": "a", "slug": "A"}}, r"child.slug: 'A' is no text of the form ^[a-z]{1,5}\Z"),
        ({"child": {"name": "a", "slug": "a\n"}}, r"child.slug: 'a\n' is no text of the form ^[a-z]{1,5}\Z"),
        ({"children": [{"name": "a"}, {"nam": "b", "name": "c"}]}, 'unknown key children.1.nam (did you mean "name"?)'),
        ({"table": {"x": {"name": 5}}}, "table.x.name: 5 is no text"),
        ({"levels": {"mid": 1}}, "levels.mid: 'mid' is none of 'high', 'low'"),
        ({"numbr": 1}, 'unknown key numbr (did you mean "number"?)'),
        ({"zzz": 1}, "unknown key zzz"),
        ({"number": 7, "on": False}, "number 7 needs on"),
    ],
)
def test_a_wrong_value_is_refused_by_key_and_value(values: Any, told: str) -> None:
    (line,) = refusal(values)
    assert line == told


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("number", "viele", "number: 'viele' is no whole number from 1 to 9"),
        ("number", "", "number: '' is no whole number from 1 to 9"),
        ("number", "5.0", "number: '5.0' is no whole number from 1 to 9"),
        ("free", "nan", "free: nan is no number"),
        ("free", "1e999", "free: inf is no number"),
        ("on", "perhaps", "on: 'perhaps' is neither true nor false"),
        ("children", "a,b", 'children: \'a,b\' is no list; write it as JSON, like ["a", "b"]'),
        ("children", '[{"name": "a", "slug": 5}]', "children.0.slug: 5 is no text"),
        ("child", '{"name": ', "child: "),
        ("mixed", "[[", "mixed: "),
    ],
)
def test_a_text_of_the_environment_that_can_not_be_meant_is_refused(key: str, text: str, told: str) -> None:
    (line,) = refusal({key: EnvironmentText(text)})
    assert line.startswith(told)


def test_text_that_is_no_json_is_told_how_to_write_it() -> None:
    (line,) = refusal({"child": EnvironmentText('{"name": ')})
    assert 'like ["a", "b"]' in line


def test_every_mistake_is_told_at_once_each_on_its_line_and_with_its_place() -> None:
    values = {"number": 0, "on": 5, "child": {"name": 5, "x": 1}, "children": [{}, {}], "zzz": 1}
    with pytest.raises(SettingsError) as refused:
        read(Parent, values, lambda key: f"file:{'/'.join(key)}")
    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        "file:number",
        "file:on",
        "file:child/name",
        "file:child/x",
        "file:children/0/name",
        "file:children/1/name",
        "file:zzz",
    ]


def test_rules_over_several_keys_wait_until_each_key_is_right() -> None:
    assert len(refusal({"number": 7, "on": False, "even": 3})) == 1


@pytest.mark.parametrize("given", [5, "text", [1], None])
def test_a_tree_that_is_no_table_is_refused(given: Any) -> None:
    (line,) = refusal(given)
    assert line.endswith("is no table")


@pytest.mark.parametrize("key", ["secret", "child", "number", "folder", "mode"])
@pytest.mark.parametrize("wrap", [str, EnvironmentText])
def test_a_password_in_the_wrong_place_is_not_repeated(key: str, wrap: type[str]) -> None:
    address: Any = wrap("redis://:geheim@host")
    if key in {"secret", "folder"}:
        address = [address]
    assert "geheim" not in "".join(refusal({key: address}))


def test_a_section_stays_as_it_was_made_and_a_changed_one_is_checked_again() -> None:
    made = Parent(number=7)
    with pytest.raises(AttributeError):
        made.number = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="number 7 needs on"):
        structs.replace(made, on=False)


def test_a_sections_defaults_are_its_own() -> None:
    Parent().mixed.append("x")
    assert Parent().mixed == []


def test_a_section_as_plain_values_reads_back_and_shows_no_password() -> None:
    values = {"keep": "36h", "cap": 5, "folder": "a", "children": [{"name": "子", "slug": "b"}], "levels": {"low": 2.0}}
    made = read(Parent, values | {"secret": "redis://:geheim@127.0.0.1"})
    told = plain(made)
    assert told.pop("secret") == "redis://:***@127.0.0.1"
    assert {key: told[key] for key in values} == values
    assert read(Parent, json.loads(json.dumps(told)) | {"secret": made.secret}) == made


def test_a_secret_shows_itself_nowhere_unasked() -> None:
    secret = Secret("geheim")
    shown = [repr(secret), f"{secret}", json.dumps(secret, default=str), repr(Parent(secret=secret))]
    assert "geheim" not in "".join(shown) + repr(pickle.dumps(secret))
    assert str(pickle.loads(pickle.dumps(secret)).get_secret_value()) == "***"  # noqa: S301 - our own
    assert copy.deepcopy(Parent(secret=secret)).secret.get_secret_value() == "geheim"
    assert (bool(Secret()), str(Secret()), Secret("a") == Secret("a"), Secret("a") == "a") == (False, "", True, False)
