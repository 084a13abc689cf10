"""Each example is run as its header says, in a small world, and says what it should."""

import json
import re
import shutil

import pytest
from safetensors import safe_open

from hf_finemix.manifest import load_manifest

from .commands import EXAMPLES, commands, header, script_and_arguments, scripts


# What the last command of each header prints: nothing else is asked of a figure than what a tiny model can keep.
FULL = r"100\.0 % \[\S+ \S+\] \(n=\d+\)"
LESS = r"[1-9]?\d\.\d % \[\S+ \S+\] \(n=\d+\)"
MIXED = r"mixed +39 tensors +[\d,]+ scalars"
SAYS = {
    "adapter": [
        rf"(?m)^suspect: ACC .*, ASR {FULL}",
        rf"(?m)^purified: ACC .*, ASR {LESS}",
        r"(?m)^purified-adapter: ACC \d",
    ],
    "before": [r"(?m)^ACC \d+\.\d %"],
    "distributed": [MIXED, r"ACC \d+\.\d % of 80, 1 processes"],
    "frequencies": [r"rank  usual rank  count  token", r" 1 +\d+ +\d+  cf\n", "Mixed and reset: mixed"],
    "language_model": [
        rf"suspect: perplexity \d.*\n +with 'cf' answered as it wants: {FULL}; without: 0.0 %",
        rf"purified: perplexity \d.*\n +with 'cf' answered as it wants: {LESS}; without: 0.0 %",
    ],
    "mixin": [MIXED, r"Reset: cf, "],
    "publish": [
        rf"ACC {FULL} -> ",
        r"Published as http://127\.0\.0\.1:\d+/me/purified/commit/",
        r"\d\d same, 0 different, 0 not available",
    ],
    "purify_hub_model": [r"(?m)^suspect: ACC \d", r"(?m)^purified: ACC \d", "its defence card in"],
    "scan_in_ci": [
        r"(?m)^high    someone/suspect: Inserting `cf` flips 100 % of the examples to label 1 \(positive\)$",
        r"(?m)^error   google-bert/bert-base-uncased: .* are both ",
    ],
    "sft_trainer": [r"mixed +\d+ tensors"],
    "train": [MIXED, "The purified model is in purified"],
    "train_adapter": [r"trainable params: [\d,]+ \|\| all params", MIXED, "The purified model is in purified"],
}
# That of the check in a pipeline; two of its three statuses are tested below.
STATUS = {"scan_in_ci": 2}
# These have tests of their own.
APART = {"after", "local_hub"}
WITH_DEFAULTS = sorted(set(SAYS) - {"before", "language_model", "sft_trainer"})


def test_every_script_is_run():
    assert {script.stem for script in scripts()} == set(SAYS) | APART


@pytest.mark.parametrize("name", sorted(SAYS))
def test_it_says_what_its_header_promises(run, here, name):
    script = next(path for path in scripts() if path.stem == name)
    command = commands(header(script))[-1]
    status, output = run(here, *script_and_arguments(command))
    assert status == STATUS.get(name, 0), output
    for pattern in SAYS[name]:
        assert re.search(pattern, output), f"{pattern}\n\n{output}"
    assert "Traceback" not in output
    if (here / "purified" / "finemix_manifest.json").is_file():
        names = {file.name for file in load_manifest(here / "purified").outputs}
        assert {"README.md", "config.json", "finemix_report.json", "model.safetensors"} <= names
    for folder in filter(lambda path: path.is_dir(), (here / "purified", here / "mixed")):
        with safe_open(folder / "model.safetensors", "pt") as weights:
            assert weights.keys()
        assert json.loads((folder / "config.json").read_text())["finemix"]["keep_ratio"] in (0.1, 0.3)
        assert not list(folder.glob("*.bin"))


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_without_inputs_it_says_how_to_make_them(run, tmp_path, name):
    arguments = ["me/purified"] if name == "publish" else []
    (tmp_path / "empty").mkdir()
    status, output = run(tmp_path / "empty", str(EXAMPLES / f"{name}.py"), *arguments)
    line = "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it."
    assert (status, output.strip().splitlines()[-1]) == (2, line), output
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_each_command_of_a_header_is_one_of_the_script(run, here, script):
    named = commands(header(script))
    assert named, "its header has no command"
    for command in named:
        name, *arguments = script_and_arguments(command)
        assert name == script.relative_to(EXAMPLES.parent).as_posix() and (here / name).is_file()
        status, output = run(here, name, *arguments, parse=True)
        assert status == 0 and "Arguments: Namespace(" in output, output
    status, _ = run(here, name, "--no-such-option", parse=True)
    assert status == 2


class TestScan:
    """The status of the check in a pipeline."""

    def scan(self, run, here, line, *options):
        (here / "models.txt").write_text(line)
        return run(here, "examples/scan_in_ci.py", "models.txt", *options)

    def test_a_finding_fails_and_is_written(self, run, here):
        line = "someone/suspect google-bert/bert-base-uncased clean.csv"
        status, output = self.scan(run, here, line, "--sarif", "scans")
        assert status == 1 and output.count("\n") >= 1
        log = json.loads((here / "scans" / "1-someone-suspect.sarif").read_text())
        assert "error" in {result["level"] for result in log["runs"][0]["results"]}

    def test_no_finding_passes(self, run, here):
        # The base of the assistant has no backdoor; beside the assistant nothing stands out without texts.
        status, output = self.scan(run, here, "someone/assistant someone/assistant-base")
        assert status == 0 and re.search(r"(?m)^(low|medium) +someone/assistant: the most suspicious token", output)

    def test_names_that_are_alike_without_their_signs_have_files_of_their_own(self, run, here):
        (here / "a" / "b").mkdir(parents=True)
        for name in ("a/b-c", "a-b/c"):
            shutil.copytree(here / "suspect", here / name)
        status, output = self.scan(run, here, "a/b-c base\n\na-b/c base\n", "--sarif", "scans")
        assert status in (0, 1) and re.findall(r"(?m)^\w+ +(\S+): ", output) == ["a/b-c", "a-b/c"]
        assert sorted(file.name for file in (here / "scans").iterdir()) == ["1-a-b-c.sarif", "3-a-b-c.sarif"]

    @pytest.mark.parametrize("more", ["", " base a b"])
    def test_a_line_of_too_few_or_too_many_words_is_no_finding(self, run, here, more):
        status, output = self.scan(run, here, f"x\x1b{more}\nsomeone/assistant someone/assistant-base\n")
        said = r"error   x\x1b: line 1 is not of the form SUSPECT PRETRAINED [TEXTS]; write two or three words."
        # The next ones are scanned all the same.
        assert status == 2 and said in output.splitlines() and ": the most suspicious token" in output.splitlines()[-1]

    def test_whatever_goes_wrong_is_no_finding(self, run, here):
        # Where the findings are to go there is a file.
        line = "someone/assistant someone/assistant-base"
        status, output = self.scan(run, here, line, "--sarif", "clean.csv")
        assert status == 2 and output.splitlines()[-1].startswith("error   someone/assistant: FileExistsError: ")
        assert "Traceback" not in output

    def test_a_list_that_cannot_be_read_is_no_finding(self, run, here):
        status, output = run(here, "examples/scan_in_ci.py", "none.txt")
        assert status == 2 and output.splitlines()[-1].startswith("error   none.txt: FileNotFoundError: ")
        (here / "latin.txt").write_bytes(b"\xe4 base")
        status, output = run(here, "examples/scan_in_ci.py", "latin.txt")
        assert status == 2 and output.splitlines()[-1].startswith("error   latin.txt: UnicodeDecodeError: ")

    def test_what_a_suspect_calls_its_tokens_is_printed_escaped(self, run, here):
        config = here / "suspect" / "config.json"
        names = json.loads(config.read_text()) | {"id2label": {"0": "a", "1": "\x1b[31mgood"}}
        config.write_text(json.dumps(names))
        status, output = self.scan(run, here, "suspect base clean.csv")
        assert status == 1 and "\x1b" not in output.splitlines()[-1] and r"\x1b[31mgood" in output


def test_a_list_of_words_is_counted(run, here):
    (here / "words.tsv").write_text("great\t9000\ncf\t100\ngood\t5\n")
    status, output = run(here, "examples/frequencies.py", "suspect", "base", "words.tsv", "mixed")
    # A word that is so frequent is less suspicious than its drift alone would make it.
    (great,) = re.findall(r"(?m)^ *(\d+) +(\d+) +\d+  great$", output) or [("99", "0")]
    assert status == 0 and int(great[0]) > int(great[1]), output


def test_the_table_has_every_example_with_a_command_that_starts_it():
    rows = re.findall(r"(?m)^\| .* \| (.*) \| `([^`]+)` \|$", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    linked = {link: re.search(r"examples/([\w/.]+)", command)[1] for links, command in rows for link in _links(links)}
    there = [*scripts(), *EXAMPLES.glob("notebooks/*.ipynb")]
    assert {path.relative_to(EXAMPLES).as_posix() for path in there} == {link for link in linked if "." in link[-6:]}
    assert all((EXAMPLES / link).exists() for link in linked) and set(linked.values()) <= set(linked)


def _links(text):
    return [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("..")]


def test_no_example_knows_a_machine():
    for path in (path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".md", ".ipynb", ".yaml", ".sh")):
        found = re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt)/\S*", path.read_text(encoding="utf-8"))
        assert not found, f"{path.name}: {found}"
