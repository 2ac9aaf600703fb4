"""Make the reference of the public names from their signatures and docstrings, as the Markdown of `tables.py`.

The sources are read and not imported, so that annotations and defaults stand as their authors wrote them, and names
that are only a type have the text that follows them.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

SOURCES: Final = Path(__file__).parents[2] / "kernel" / "src"
DOORS: Final = {
    "jackfield": "jackfield/_public.py",
    "jackfield.client": "jackfield/client/__init__.py",
    "jackfield.testing": "jackfield/testing/_public.py",
}
"""The public modules, each with the file that imports what is public in it."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_WIDTH: Final = 100
_SECTION: Final = re.compile(
    r"^(Args|Attributes|Raises|Returns|Yields|Example):\n((?:(?: {4}.*)?(?:\n|\Z))+)", re.MULTILINE
)
_ENTRY: Final = re.compile(r"^([\w.*]+): (.*(?:\n {4}.*)*)", re.MULTILINE)
_KERNELS_OWN: Final = "for the kernel."
"""So ends the first line of a method, and what is said of an attribute, that is none of a plugin's."""


def reference(door: str) -> str:
    """Return the reference of a public module: a heading, a signature and a text for each of its names."""
    return "\n\n".join(part for name, found in sorted(_public(door)) for part in _entry(name, found))


def summary(module: str) -> str:
    """Return the first paragraph of what a module of the kernel says of itself."""
    path = SOURCES / "jackfield" / module
    tree = _parsed(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    return _joined((ast.get_docstring(tree) or "").partition("\n\n")[0].splitlines())


def _public(door: str) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Yield each public name with the statement that defines it, and the one after that."""
    for node in _parsed(SOURCES / DOORS[door]).body:
        if isinstance(node, ast.ImportFrom) and node.module and "._" in node.module:
            body = _parsed(SOURCES / f"{node.module.replace('.', '/')}.py").body
            for alias in node.names:
                (at,) = (number for number, statement in enumerate(body) if _name(statement) == alias.name)
                yield alias.name, body[at : at + 2]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _name(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.ClassDef | Function):
        return statement.name
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    return target.id if isinstance(target, ast.Name) else None


def _entry(name: str, found: list[ast.stmt]) -> Iterator[str]:
    yield f"## {name}"
    node = found[0]
    if isinstance(node, ast.ClassDef):
        yield from _class(node)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _function(node)
    else:
        yield _code(ast.unparse(node))
        yield from _text(_string(found[1]) or "")


def _class(node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    doc = ast.get_docstring(node) or ""
    functions = [item for item in node.body if isinstance(item, Function)]
    lines = [
        f"    {ast.unparse(item)}"
        for item in node.body
        if isinstance(item, ast.Assign | ast.AnnAssign) and not (_name(item) or "_").startswith("_")
    ]
    if "Args:\n" in doc:  # it says how one is made
        made = (_signature(item) for item in functions if item.name == "__init__")
        lines += [textwrap.indent(signature, "    ") for signature in made]
    head = f"class {node.name}{f'({bases})' if bases else ''}:{'' if lines else ' ...'}"
    yield _code("\n".join([head, *lines]))
    made_here = any(item.name == "__init__" for item in functions)
    yield from _text(doc if made_here else doc.replace("Args:\n", "Attributes:\n"))
    for function in functions:
        first = (ast.get_docstring(function) or _KERNELS_OWN).partition("\n")[0]
        if not function.name.startswith("_") and not first.endswith(_KERNELS_OWN):
            yield f"### {node.name}.{function.name}"
            yield from _function(function)


def _function(node: Function) -> Iterator[str]:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if "property" in decorators:
        assert node.returns
        yield _code(f"{node.name}: {ast.unparse(node.returns)}")
    else:
        managers = sorted(decorators & {"asynccontextmanager", "contextmanager"})
        yield _code("\n".join([*(f"@{manager}" for manager in managers), _signature(node)]))
    yield from _text(ast.get_docstring(node) or "")


def _signature(node: Function) -> str:
    """Return the head of a function, one argument a line where it is long."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(plain) - len(given.defaults)), *given.defaults]
    arguments = [_argument(*pair) for pair in zip(plain, defaults, strict=True)]
    if given.posonlyargs:
        arguments.insert(len(given.posonlyargs), "/")
    if plain and plain[0].arg == "self":
        del arguments[0]
    if given.vararg or given.kwonlyargs:
        arguments.append(f"*{ast.unparse(given.vararg) if given.vararg else ''}")
    arguments += [_argument(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    arguments += [f"**{ast.unparse(given.kwarg)}"] if given.kwarg else []
    arguments = arguments[1:] if arguments[:1] == ["/"] else arguments
    head = f"{'async ' if isinstance(node, ast.AsyncFunctionDef) else ''}def {node.name}"
    tail = f"{f' -> {ast.unparse(node.returns)}' if node.returns else ''}: ..."
    line = f"{head}({', '.join(arguments)}){tail}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{head}(", *(f"    {argument}," for argument in arguments), f"){tail}"])


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return f"{ast.unparse(argument)}{f' = {ast.unparse(default)}' if default else ''}"


def _string(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return None


def _code(text: str) -> str:
    double = re.sub(r"'([^'\"\\]*)'", r'"\1"', text)  # as everywhere else
    return f"```pyi\n{double}\n```"


def _text(doc: str) -> Iterator[str]:
    """Yield the parts of a docstring as Markdown; its examples stand, and are run, on other pages."""
    yield from filter(None, [_SECTION.sub("", doc).strip()])
    for found in _SECTION.finditer(doc):
        title, body = found[1], textwrap.dedent(found[2])
        if title in ("Returns", "Yields"):
            yield f"**{title}:** {_joined(body.splitlines())}"
        elif title != "Example":
            entries = ((entry[1], _joined(entry[2].splitlines())) for entry in _ENTRY.finditer(body))
            shown = [f"- `{name}`: {text}" for name, text in entries if not text.endswith(_KERNELS_OWN)]
            yield "\n".join([f"**{title}:**", "", *shown])


def _joined(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines).strip()
