"""Tables of text, fitted to the window. rich draws them no better here, and loading it takes an eighth of `list`."""

import shutil
import sys
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

import click

_LEAST = 80
_WHERE_UNKNOWN = 100
_NARROWEST = 8
_GAP = "  "


def window_width() -> int:
    """Return the columns of the terminal; of a file or pipe those of COLUMNS or 100, and never fewer than 80."""
    known = shutil.get_terminal_size((_WHERE_UNKNOWN, 24)).columns
    return known if sys.stdout.isatty() else max(_LEAST, known)


def print_table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    whole: Collection[str],
    below: Sequence[Sequence[str]] = (),
) -> None:
    """Print rows below their titles; a cell may have several lines. Columns named in `whole` are never folded.

    `below` are lines for each row that stand beneath it, from its second column to the end of the window.
    """
    table = [[_printable(cell) for cell in row] for row in rows]
    natural = [max(map(_columns, "\n".join(column).split("\n"))) for column in zip(titles, *table, strict=True)]
    foldable = [number for number, title in enumerate(titles) if title not in whole]
    widths = _fitted(natural, foldable, window_width() - len(_GAP) * len(titles))
    click.echo()
    click.secho(f" {_line(titles, widths)}", bold=True)
    click.echo(f" {'─' * (sum(widths) + len(_GAP) * (len(widths) - 1))}")
    indent = " " * (1 + widths[0] + len(_GAP))
    for row, lines in zip_longest(table, below, fillvalue=()):
        cells = [folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            click.echo(f" {_line([cell[number] if number < len(cell) else '' for cell in cells], widths)}".rstrip())
        for line in lines:
            for part in folded(_printable(line), window_width() - len(indent)):
                click.echo(indent + part)
    click.echo()


def _fitted(natural: Sequence[int], foldable: Sequence[int], room: int) -> list[int]:
    """Take what is too much from the widest columns that may be folded."""
    widths = list(natural)
    while sum(widths) > room and foldable:
        widest = max(foldable, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _columns(cell)) for cell, width in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def folded(cell: str, width: int) -> list[str]:
    """Return the lines of `cell`, each broken to at most `width` columns; what follows an indented line is so too."""
    return [part for line in cell.split("\n") for part in _folded_line(line, width)]


def _folded_line(line: str, width: int) -> Iterator[str]:
    """Yield parts of at most `width` columns, broken between words where possible; an indented line stays so."""
    indent = line[: len(line) - len(line.lstrip())]
    while _columns(line) > width:
        end = _fitting(line, width)
        space = line.rfind(" ", len(indent) + 1, end + 1)
        cut = space if space > 0 else end
        yield line[:cut].rstrip()
        line = indent + line[cut:].lstrip()
    yield line


def _fitting(line: str, width: int) -> int:
    """How many characters of `line` take at most `width` columns."""
    taken = 0
    for number, letter in enumerate(line):
        taken += _columns(letter)
        if taken > width:
            return number
    return len(line)


def _columns(text: str) -> int:
    """How wide a terminal shows it: a Chinese character takes two columns, a combining mark none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "FW") for letter in text
    )


def _printable(text: str) -> str:
    """Escape control characters: text from outside must not act on the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
