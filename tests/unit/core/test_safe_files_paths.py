"""Which spellings of a path are acceptable, and how a refused one is shown."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import PathRefused
from app.core.safe_files import check_relative, show
from app.core.safe_files.paths import errno_reason


@pytest.mark.parametrize(
    "relative",
    [
        b"a",
        b"2026/08/01/image.png",
        "上传/图片/收据.png".encode(),
        b"\xff\xfe.txt",
        b"new\nline.txt",
        b"-rf",
        b"--help/-x",
        b" ",
        b"...",
        b"..a/.b",
        b"~/x",
        b"$HOME/`id`",
        b"C:\\x",
        b"s3:/bucket",
        b".gengfu-root.bak",
        b"n" * 255,
        b"/".join([b"d"] * 64),
        b"/".join([b"n" * 255] * 64),
    ],
)
def test_a_canonical_path_is_split_and_left_as_it_is(relative: bytes) -> None:
    assert b"/".join(check_relative(relative)) == relative


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        (b"", "empty"),
        (b"/", "absolute"),
        (b"/etc/passwd", "absolute"),
        (b"//host/share", "absolute"),
        (b"..", "parent_reference"),
        (b"../x", "parent_reference"),
        (b"a/../b", "parent_reference"),
        (b"a/..", "parent_reference"),
        (b"a/./../b", "parent_reference"),
        (b".", "not_canonical"),
        (b"./a", "not_canonical"),
        (b"a/./b", "not_canonical"),
        (b"a/.", "not_canonical"),
        (b"a//b", "not_canonical"),
        (b"a/", "not_canonical"),
        (b"a\0b", "nul"),
        (b"/etc\0", "nul"),
        (b"../\0", "nul"),
        (b"s3://bucket/key", "unsupported"),
        (b"https://example.com/a.png", "unsupported"),
        (b"file:///etc/passwd", "unsupported"),
        (b"git+ssh://x", "unsupported"),
        (b"n" * 256, "name_too_long"),
        (b"a/" + b"n" * 256 + b"/b", "name_too_long"),
        ("图".encode() * 86, "name_too_long"),
        (b"/".join([b"d"] * 65), "too_deep"),
        (b".gengfu-root", "marker"),
        (b"a/.gengfu-root", "marker"),
        (b".gengfu-root/a", "marker"),
    ],
)
def test_every_other_spelling_is_refused_with_its_reason(relative: bytes, reason: str) -> None:
    with pytest.raises(PathRefused) as refusal:
        check_relative(relative)
    assert refusal.value.reason == reason
    assert type(refusal.value.reason) is str


@given(st.binary(max_size=80))
def test_accepted_components_never_lead_upwards_or_nowhere(relative: bytes) -> None:
    try:
        parts = check_relative(relative)
    except PathRefused:
        return
    assert not {b"", b".", b".."} & set(parts)
    assert b"/".join(parts) == relative
    assert not relative.startswith(b"/")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("收据/图片 1.png".encode(), "收据/图片 1.png"),
        (b"a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        (b"\xff\xfe.txt", "\\xff\\xfe.txt"),
        ("a\u202eb\u2028".encode(), "a\\u202eb\\u2028"),
        (b"a\\nb", "a\\\\nb"),
    ],
)
def test_a_shown_path_is_printable_and_unambiguous(path: bytes, shown: str) -> None:
    assert show(path) == shown


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_two_different_paths_are_never_shown_alike(one: bytes, other: bytes) -> None:
    assert (show(one) == show(other)) == (one == other)


@given(st.binary(max_size=80))
def test_a_refusal_is_always_one_printable_line(hostile: bytes) -> None:
    with pytest.raises(PathRefused) as refusal:
        check_relative(b"/" + hostile)
    assert str(refusal.value).isprintable()


def test_a_huge_stored_path_makes_a_short_message() -> None:
    with pytest.raises(PathRefused) as refusal:
        check_relative(b"/" + b"x" * 1_000_000)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ELOOP, "link"), (errno.EXDEV, "other_mount"), (errno.EACCES, "eacces"), (errno.EIO, "eio"), (0, "unknown")],
)
def test_an_errno_becomes_one_word_for_counting(number: int, reason: str) -> None:
    assert errno_reason(OSError(number, "x")) == reason
