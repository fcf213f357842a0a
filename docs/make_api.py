"""Writes docs/api.md from the docstrings and signatures of the names of `import heartcare`.

    python docs/make_api.py            # after a docstring or a signature has changed
    python docs/make_api.py --check    # status 1 where the page is not what would be written

The sources are parsed and not imported, so that the page is the same with every version of Python and of transformers.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/api.md"

GROUPS = {
    "Pipeline": ["ECGInterpretationPipeline", "register"],
    "Model": ["HeartcareForConditionalGeneration", "HeartcareModel"],
    "Processor and extractor": ["HeartcareProcessor", "BeatFeatureExtractor", "ECGImageProcessor"],
    "ECG and reading": ["ECG", "read_ecg"],
    "Digitizing": ["digitize", "DigitizedPage", "NotDigitized"],
    "Measuring": ["measure_ecg", "Measurements"],
    "Checking": ["verify", "Claim"],
    "Beat": ["BeatModel", "BeatStream"],
    "Configuration": ["HeartcareConfig", "BeatConfig"],
}

# Methods that transformers or the package itself calls; the page leaves them out.
INNER = {
    *("from_dict", "get_input_embeddings", "set_input_embeddings", "get_output_embeddings", "set_output_embeddings"),
    *("to_dict", "get_decoder", "get_placeholder_mask", "train", "read_findings", "project_evidence"),
    *("preprocess", "read", "encode", "understand", "numbered", "postprocess", "get_iterator", "facts", "collate"),
    *("model_input_names", "prepare_inputs_layout", "validate_inputs", "replace_image_token"),
    *("arrange", "inspect", "is_off", "pad", "fetch_images", "scale", "sheet", "find_layout", "find_extent", "takes"),
    *("decode_unchecked", "segment", "masked_mse"),
}
CALLED = {"BeatModel.encode", "ECGImageProcessor.preprocess"}  # methods that users call, with a name out of INNER

PAGES = ["measuring", "digitizing", "beat", "training", "serving"]
INTRODUCTION = (
    "The names of `import heartcare`, and the methods that a user calls beside those of transformers. "
    "`python docs/make_api.py` writes this page from the docstrings."
)

Definition = ast.ClassDef | ast.FunctionDef


def write_page() -> str:
    """Returns the page.

    Raises: `SystemExit` for a name of `import heartcare` that is in no group, and the other way round.
    """
    sources = Sources()
    grouped = [name for names in GROUPS.values() for name in names]
    if apart := set(grouped) ^ set(sources.public_names()):
        raise SystemExit(f"{sorted(apart)}: expected each name of `__all__` in one of the GROUPS of docs/make_api.py.")
    links = ["[README](../README.md)", *(f"[{page}]({page}.md)" for page in PAGES)]
    parts = ["# API", " · ".join(links), INTRODUCTION]
    parts.append(
        "\n".join(
            f"- [{group}](#{group.lower().replace(' ', '-')}): "
            + ", ".join(f"[`{name}`](#{name.lower()})" for name in names)
            for group, names in GROUPS.items()
        )
    )
    for group, names in GROUPS.items():
        parts.append(f"## {group}")
        for name in names:
            _, node = sources.find(name)
            if isinstance(node, ast.ClassDef):
                parts += write_class(name, sources, grouped)
            else:
                parts += [f"### {name}", signature_of(node), render_docstring(ast.get_docstring(node), grouped)]
    return "\n\n".join(parts) + "\n"


class Sources:
    """Syntax trees of the core."""

    def __init__(self) -> None:
        self.trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.glob("*.py")}

    def public_names(self) -> list[str]:
        """Returns the names of `import heartcare`."""
        (names,) = (
            ast.literal_eval(node.value)
            for node in self.trees["public_heartcare"].body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        return names

    def find(self, name: str, module: str = "public_heartcare") -> tuple[str, Definition] | None:
        """Returns the module that defines a name that `module` has, and the definition; None for other libraries'."""
        for node in self.trees[module].body:
            if isinstance(node, Definition) and node.name == name:
                return module, node
            if isinstance(node, ast.ImportFrom) and node.level:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.find(alias.name, node.module)
        return None

    def lineage(self, name: str, module: str = "public_heartcare") -> Iterator[ast.ClassDef]:
        """Yields a class and those of its bases that the core defines."""
        if found := self.find(name, module):
            module, definition = found
            yield definition
            for base in definition.bases:
                yield from self.lineage(ast.unparse(base), module)


def write_class(name: str, sources: Sources, linked: list[str]) -> list[str]:
    """Returns the paragraphs of a class."""
    docstring = ast.get_docstring(next(sources.lineage(name)))
    parts = [f"### {name}", constructor_of(name, sources), render_docstring(docstring, linked)]
    methods, bases = methods_of(name, sources)
    if bases:
        parts.append(f"It also has the methods of {', '.join(f'[`{base}`](#{base.lower()})' for base in bases)}.")
    properties = {key: each for key, each in methods.items() if "property" in decorators_of(each)}
    if properties:
        lines = [
            f"- `{key}` (`{write_annotation(each.returns)}`): {render_words(ast.get_docstring(each), linked)}"
            for key, each in properties.items()
        ]
        parts += ["**Properties:**", "\n".join(lines)]
    for key, each in methods.items():
        if key not in properties:
            parts += [f"#### `{name}.{key}`", signature_of(each)]
            parts += [render_docstring(text, linked)] if (text := ast.get_docstring(each)) else []
    return parts


def constructor_of(name: str, sources: Sources) -> str:
    """Returns the signature of a class; where another library constructs it, the class with its base."""
    node = next(sources.lineage(name))
    if decorators_of(node) & {"dataclass", "strict"}:
        return write_signature(f"class {name}", fields_of(node))
    for each in sources.lineage(name):
        for function in each.body:
            if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                return write_signature(f"class {name}", parameters_of(function))
    return write_signature(f"class {name}", [ast.unparse(node.bases[-1])])


def decorators_of(node: Definition) -> set[str]:
    """Returns the names of a definition's decorators."""
    return {ast.unparse(each).split("(")[0] for each in node.decorator_list}


def fields_of(node: ast.ClassDef) -> list[str]:
    """Returns the fields of a dataclass as parameters."""
    return [
        write_parameter(each.target.id, each.annotation, default_of_field(each.value))
        for each in node.body
        if isinstance(each, ast.AnnAssign) and not ast.unparse(each.annotation).startswith("ClassVar")
    ]


def default_of_field(value: ast.expr | None) -> str | None:
    """Returns the default of a dataclass's field, None where there is none."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        how = {keyword.arg: ast.unparse(keyword.value) for keyword in value.keywords}
        return f"{how['default_factory']}()" if "default_factory" in how else how.get("default")
    return value and ast.unparse(value)


def write_parameter(name: str, annotation: ast.expr | None, default: str | None = None) -> str:
    """Returns a parameter as a signature shows it."""
    said = write_annotation(annotation)
    if default is None:
        return f"{name}: {said}" if said else name
    return f"{name}: {said} = {default}" if said else f"{name}={default}"


def write_annotation(node: ast.expr | None) -> str:
    """Returns the source of an annotation, without the quotes of a name that is not defined yet."""
    if node is None:
        return ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


def write_signature(start: str, parameters: list[str], end: str = "") -> str:
    """Returns a signature as a block of code, on one line where it fits."""
    line = f"{start}({', '.join(parameters)}){end}"
    if len(line.splitlines()[-1]) > 100:
        line = "\n".join([f"{start}(", *(f"    {each}," for each in parameters), f"){end}"])
    return f"```py\n{line}\n```"


def parameters_of(function: ast.FunctionDef) -> list[str]:
    """Returns the parameters of a function, without `self` and `cls`."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    shown = [
        write_parameter(each.arg, each.annotation, default and ast.unparse(default))
        for each, default in zip(positional, defaults)
        if each.arg not in ("self", "cls")
    ]
    if given.vararg:
        shown.append(write_parameter(f"*{given.vararg.arg}", given.vararg.annotation))
    elif given.kwonlyargs:
        shown.append("*")
    for each, default in zip(given.kwonlyargs, given.kw_defaults):
        shown.append(write_parameter(each.arg, each.annotation, default and ast.unparse(default)))
    if given.kwarg:
        shown.append(write_parameter(f"**{given.kwarg.arg}", given.kwarg.annotation))
    return shown


def render_docstring(docstring: str, linked: list[str]) -> str:
    """Returns a docstring in Markdown: lists of arguments and attributes, paragraphs, and code, which no test runs."""
    shown, in_entries = [], False
    for block in split_blocks(docstring):
        header, _, rest = block[0].partition(":")
        is_section = header in ("Args", "Attributes", "Returns", "Raises")
        if block[0].startswith("```"):
            shown.append("\n".join(["```py", *block[1:]]))
        elif block[0].startswith("    "):
            code = "\n".join(line.removeprefix("    ") for line in block)
            shown.append(render_items(block, linked) if in_entries else f"```py\n{code}\n```")
            continue
        elif len(block) > 1 and block[0].endswith(":") and all(line.startswith("    ") for line in block[1:]):
            shown += [f"**{header}:**", render_items(block[1:], linked)]
        elif is_section:
            shown.append(f"**{header}:** {render_words(' '.join([rest, *block[1:]]), linked)}")
        else:
            shown.append(render_words(" ".join(block), linked))
        in_entries = is_section
    return "\n\n".join(shown)


def split_blocks(docstring: str) -> list[list[str]]:
    """Returns the blocks of a docstring, which blank lines, headers of sections and fences of code set apart."""
    blocks: list[list[str]] = [[]]
    in_code = False
    for line in docstring.splitlines():
        fence = line.startswith("```")
        if not in_code and (fence or not line or re.match(r"(Args|Attributes|Returns|Raises):", line)):
            blocks.append([])
        if line or in_code:
            blocks[-1].append(line)
        if fence:
            in_code = not in_code
    return [block for block in blocks if block]


def render_items(lines: list[str], linked: list[str]) -> str:
    """Returns the entries of a section as a list; each entry begins at the indent of the first."""
    entries: list[str] = []
    indent = len(lines[0]) - len(lines[0].lstrip())
    for line in lines:
        if len(line) - len(line.lstrip()) > indent:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line.strip())
    shown = []
    for entry in entries:
        if not entry.startswith("- "):
            head, _, text = entry.partition(": ")
            # Names become code; what stands in brackets behind them stays.
            nested = r"\([^()]*(?:\([^()]*\)[^()]*)*\)"
            head = re.sub(rf"{nested}|\w+", lambda found: found[0] if found[0][0] == "(" else f"`{found[0]}`", head)
            entry = f"- {head}: {text}"
        shown.append(f"- {render_words(entry[2:], linked)}")
    return "\n".join(shown)


def render_words(text: str, linked: list[str]) -> str:
    """Returns running text on one line, with links to the names of the page; nothing in it reads as HTML."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(
        r"\[`(\w+)`\](?!\()",
        lambda name: f"[`{name[1]}`](#{name[1].lower()})" if name[1] in linked else f"`{name[1]}`",
        text,
    )
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(each if each.startswith("`") else each.replace("<", r"\<") for each in pieces)


def methods_of(name: str, sources: Sources) -> tuple[dict[str, ast.FunctionDef], list[str]]:
    """Returns the methods of a class that a user calls, but for those of bases that the page shows by themselves, and
    the names of these bases.
    """
    methods: dict[str, ast.FunctionDef] = {}
    shown_bases: list[str] = []
    names = sources.public_names()
    pending = [sources.find(name)]
    while pending:
        module, node = pending.pop(0)
        if node.name in names and node.name != name:
            shown_bases.append(node.name)
            continue
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and (not each.name.startswith("_") or each.name == "__call__"):
                if each.name not in INNER or f"{name}.{each.name}" in CALLED:
                    methods.setdefault(each.name, each)
        pending += [found for base in node.bases if (found := sources.find(ast.unparse(base), module))]
    return methods, shown_bases


def signature_of(function: ast.FunctionDef) -> str:
    """Returns the signature of a function or method."""
    end = f" -> {write_annotation(function.returns)}" if function.returns else ""
    mark = "@classmethod\n" if "classmethod" in decorators_of(function) else ""
    return write_signature(f"{mark}def {function.name}", parameters_of(function), end)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PAGE, help="the page")
    parser.add_argument("--check", action="store_true", help="write nothing; tell whether the page is up to date")
    args = parser.parse_args(argv)
    page = write_page()
    if not args.check:
        args.output.write_text(page, encoding="utf-8")
    elif not args.output.is_file() or args.output.read_text(encoding="utf-8") != page:
        raise SystemExit(f"{args.output} is not what the docstrings say. Run `python docs/make_api.py`, and commit it.")


if __name__ == "__main__":
    main()
