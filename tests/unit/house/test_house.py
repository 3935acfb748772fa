"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import inspect
import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fhir_bridge import errors, log
from fhir_bridge.app import create_app
from fhir_bridge.errors import BridgeError
from fhir_bridge.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPO = Path(__file__).parents[3]
PACKAGE = REPO / "fhir_bridge"
LONGEST_FUNCTION, LONGEST_MODULE, LONGEST_VIEW = 40, 300, 15

# At most five, each with its reason: a module, or a module and a function.
EXEMPT: dict[str, str] = {
    "errors.py": "one tree, read from top to bottom by whoever looks for the right error",
}
# Catching everything is for the two loops that have to go on; the web handler is registered, not caught.
CATCHES_ALL = {"worker/run.py", "worker/main.py"}
# What is about all tenants, or finds out whose something is, may say so here; all else names its tenant (decision 19).
MEANS_ALL_TENANTS = {
    "api/desk.py": "a client, a person, a code and a token are looked up to learn whose they are",
    "api/health.py": "counts of jobs, without whose",
    "api/oauth/door.py": "a browser's visit and session, before anybody knows whose they are",
    "api/oauth/launch.py": "what an EHR launched is looked up to learn whose it is",
    "cli/client.py": "an operator's command",
    "cli/rotate_keys.py": "an operator's command: all keys are wrapped anew",
    "cli/tenant.py": "an operator's command",
    "cli/trials.py": "an operator's command",
    "verbs/admission.py": "the count of recordings that wait, of all together",
    "verbs/asynchronous.py": "old answers, each of which is then forgotten for its tenant",
    "verbs/bridge.py": "hands it on to the desk",
    "verbs/reindex.py": "the list of tenants",
    "verbs/retention.py": "the list of tenants, what is nobody's, and which files are named at all",
    "verbs/upload.py": "old uploads, each of which is then forgotten for its tenant",
    "verbs/verify.py": "the laws hold for all",
    "worker/erase.py": "the list of erasures that have not ended",
    "worker/errands.py": "the next request, whosever it is",
    "worker/leases.py": "leases of many jobs are renewed in one write",
    "worker/run.py": "a ticket does not say whose it is",
    "worker/sealing.py": "the list of tenants, and up to where the audit can be sealed",
    "worker/sweep.py": "abandoned and waiting jobs, whosever they are",
    "worker/upkeep.py": "the list of tenants",
}
# These let nothing pass silently: they clean up and raise again, or carry the failure to its caller.
CATCHES_EVEN_MORE = {"blobs/folder.py", "store/writer.py"}
ROUTE_DECORATORS = {"get", "post", "put", "patch", "delete", "route"}
# A checker may be silenced for named rules, with a word why.
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma|nosec)")
REASONED = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\]|pragma: no \w+)\s+(?:-|#)\s+\S+")
# What names one machine or one registry.
MACHINES = re.compile(r"(?:^|[^a-zA-Z0-9_.-])(?:/root/|/home/\w|/Users/\w|/wor[k]/|[A-Z]:\\Users)")
REGISTRIES = re.compile(r"pypi\.org|pythonhoste[d]\.org|registry[.]npmj[s]\.org|registry\.yarnpkg\.com")


class Function(NamedTuple):
    module: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def name(self) -> str:
        return f"{self.module}:{self.node.name}"

    @property
    def lines(self) -> int:
        """Lines from `def` to the end, without the docstring."""
        first = self.node.body[0]
        described = ast.get_docstring(self.node) is not None
        docstring = first.end_lineno - first.lineno + 1 if described else 0
        return self.node.end_lineno - self.node.lineno + 1 - docstring


def tracked() -> list[Path]:
    """Every file of the repository; in an unpacked archive, every file but those made by running things."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, check=False)  # noqa: S607 - git
    if listed.returncode == 0:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := REPO / name).is_file()]
    return [path for path in REPO.rglob("*") if path.is_file() and not any(part[0] == "." for part in path.parts)]


@cache
def modules() -> dict[str, str]:
    return {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in modules().items()}


def functions() -> Iterator[Function]:
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(module, node)


def views() -> list[Function]:
    def is_route(decorator: ast.expr) -> bool:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        return isinstance(called, ast.Attribute) and called.attr in ROUTE_DECORATORS

    return [
        function
        for function in functions()
        if function.module.startswith("api/") and any(map(is_route, function.node.decorator_list))
    ]


@cache
def sources_of_tests() -> dict[Path, str]:
    return {path: path.read_text() for path in (REPO / "tests").rglob("*.py")}


def missing(names: Iterable[str], text: str) -> set[str]:
    """Return the names that do not stand in `text` as words of their own."""
    return {name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?![\w])", text)}


def all_tests() -> str:
    return "\n".join(text for path, text in sources_of_tests().items() if path != Path(__file__))


def documented(page: str) -> str:
    return (REPO / "docs" / page).read_text()


def handlers(name: str) -> set[str]:
    """Modules that catch `name`."""
    return {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and name in {ast.unparse(each) for each in getattr(node.type, "elts", [node.type]) if each}
    }


# --- size ---------------------------------------------------------------------------------


def test_no_function_is_longer_than_a_page():
    long = {each.name: each.lines for each in functions() if each.lines > LONGEST_FUNCTION and each.name not in EXEMPT}

    assert not long


def test_no_module_is_longer_than_a_chapter():
    long = {name: len(text.splitlines()) for name, text in modules().items() if name not in EXEMPT}

    assert not {name: lines for name, lines in long.items() if lines > LONGEST_MODULE}


def test_a_view_reads_as_the_requests_story():
    assert views()
    assert not {each.name: each.lines for each in views() if each.lines > LONGEST_VIEW and each.name not in EXEMPT}
    assert not [each.name for each in views() if any(isinstance(node, ast.Try) for node in ast.walk(each.node))]


def test_exemptions_are_few_reasoned_and_still_needed():
    too_long = {each.name for each in functions() if each.lines > LONGEST_FUNCTION}
    too_long |= {each.name for each in views() if each.lines > LONGEST_VIEW}
    too_long |= {name for name, text in modules().items() if len(text.splitlines()) > LONGEST_MODULE}

    assert len(EXEMPT) <= 5
    assert all(len(reason) > 20 for reason in EXEMPT.values())
    assert set(EXEMPT) <= too_long


# --- words --------------------------------------------------------------------------------


def test_every_module_opens_with_its_job():
    assert not [module for module, tree in trees().items() if not ast.get_docstring(tree)]


def test_no_exemption_from_a_checker_goes_without_a_reason():
    silent = [
        f"{path.relative_to(REPO)}:{token.start[0]} {token.string}"
        for path in [*PACKAGE.rglob("*.py"), *sources_of_tests()]
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.COMMENT and SILENCED.match(token.string) and not REASONED.match(token.string)
    ]

    assert not silent, "\n".join(silent)


def test_the_tree_names_no_machine_and_no_package_registry():
    found = [
        f"{path.relative_to(REPO)}:{number}"
        for path in tracked()
        if path != Path(__file__)
        for number, line in enumerate(path.read_bytes().decode("utf-8", "ignore").splitlines(), start=1)
        if MACHINES.search(line) or REGISTRIES.search(line)
    ]

    assert not found, "\n".join(found)


def test_settings_alone_reads_the_environment():
    reads = {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
    }

    assert reads == {"settings.py"}


# --- errors -------------------------------------------------------------------------------


def test_everything_is_caught_only_where_the_design_allows():
    bare = [name for name, tree in trees().items() for node in ast.walk(tree) if _is_bare(node)]

    assert handlers("Exception") == CATCHES_ALL
    assert handlers("BaseException") == CATCHES_EVEN_MORE
    assert not bare
    assert [name for name, text in modules().items() if "register_error_handler(Exception" in text] == [
        "api/request_log.py"
    ]


def _is_bare(node: ast.AST) -> bool:
    return isinstance(node, ast.ExceptHandler) and node.type is None


def error_classes() -> list[str]:
    return [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, BridgeError)]


# --- one list, many readers ---------------------------------------------------------------


def test_every_error_is_documented_and_tested():
    assert not missing(error_classes(), documented("errors.md"))
    assert not missing(error_classes(), all_tests())


def test_every_setting_is_documented_and_tested():
    assert not missing([PREFIX + name.upper() for name in Settings.model_fields], documented("settings.md"))
    assert not missing(Settings.model_fields, all_tests())


def test_every_event_is_documented_logged_and_tested():
    code = "\n".join(text for module, text in modules().items() if module != "log.py")

    assert not missing(log.EVENTS, documented("events.md"))
    assert not missing(log.EVENTS, code)
    assert not missing(log.EVENTS, all_tests())


def test_every_route_is_asked_for_in_a_test(tmp_path):
    app = create_app(Settings(public_url="http://bridge.test", data_dir=tmp_path))
    asked = set(_paths())
    routes = {rule.rule for rule in app.url_map.iter_rules()}

    assert len(routes) > 10
    assert not {rule for rule in routes if not any(map(_shape(rule).fullmatch, asked))}


def _shape(rule: str) -> re.Pattern[str]:
    """Return what a path that this route answers looks like in a test, where the FHIR base may be left out."""
    literal = rule.removeprefix("/fhir/") if rule.startswith("/fhir/") else rule
    parts = re.split(r"<[^>]+>", literal.strip("/"))
    names = re.findall(r"<[^>]+>", rule)
    filled = [r"[A-Z][A-Za-z]+" if "type" in name else r".+" if "path:" in name else r"[^/?]+" for name in names]
    text = re.escape(parts[0]) + "".join(each + re.escape(part) for each, part in zip(filled, parts[1:], strict=True))
    return re.compile(rf"(?:https?://[^/]+)?/?(?:fhir/)?{text}/?(?:\?.*)?")


def _paths() -> Iterator[str]:
    """Every text in the tests; what an f-string fills in stands as X."""
    for path, text in sources_of_tests().items():
        if path != Path(__file__):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in node.values)


def test_all_tenants_are_meant_only_where_that_is_written_down():
    calls = re.compile(r"\.of_all\(|\bwalls\.ALL\b")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if calls.search(path.read_text())}

    assert found == {*MEANS_ALL_TENANTS, "store/schema.py", "store/store.py"}
