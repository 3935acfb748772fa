"""What the two databases say in different words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class aside(FunctionElement[str]):  # noqa: N801 - used like sqlalchemy.func
    """A text that is compared row by row.

    Without statistics SQLite would rather look each of thousands of alternatives up in an
    index, once for each row. PostgreSQL knows better than either of us.
    """

    type = Text()
    inherit_cache = True


class strpos(FunctionElement[int]):  # noqa: N801 - used like sqlalchemy.func
    """Where in the first text the second begins, from 1."""

    name = "strpos"
    inherit_cache = True


@compiles(aside)
def _plain(element: aside, compiler: SQLCompiler, **kw: object) -> str:
    return compiler.process(element.clauses, **kw)


@compiles(aside, "sqlite")
def _unary_plus(element: aside, compiler: SQLCompiler, **kw: object) -> str:
    return f"+{compiler.process(element.clauses, **kw)}"  # https://www.sqlite.org/optoverview.html#disqualifying


@compiles(strpos)
def _strpos(element: strpos, compiler: SQLCompiler, **kw: object) -> str:
    return f"strpos({compiler.process(element.clauses, **kw)})"


@compiles(strpos, "sqlite")
def _instr(element: strpos, compiler: SQLCompiler, **kw: object) -> str:
    return f"instr({compiler.process(element.clauses, **kw)})"
