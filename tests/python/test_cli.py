"""The command line: what it writes, says and returns, and that a failure leaves nothing behind."""

import inspect
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tripletmine
from shell import RUN, assert_written, names, run
from tripletmine import _files, _options, _summary, cli


def expected(**options):
    return tripletmine.mine(np.load("x.npy"), np.load("y.npy"), **options)


def called(monkeypatch, *arguments):
    """The arguments with which the command line calls `mine`."""
    seen = {}
    triplets = expected()

    def mine(embeddings, labels, **options):
        seen.update(options, embeddings=embeddings, labels=labels)
        return triplets

    with monkeypatch.context() as patch:
        patch.setattr(tripletmine, "mine", mine)
        assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz", *arguments]) == 0
    return seen


# ------------------------------------------------------------------------------- as its own process


def test_npz(data):
    done = run("mine", "x.npy", "y.npy", "-o", "out.npz", "--n-threads", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert_written("out.npz", expected())
    assert names(data) == ["out.npz", "x.npy", "y.npy"]


def test_parquet_and_a_pipe_without_progress(data):
    done = run("mine", "x.npy", "y.npy", "-o", "out.parquet", "--neg-strategy", "hard")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("\n", "").isascii()
    assert done.stdout.replace("\n", "").isprintable()
    table = pq.read_table("out.parquet")
    triplets = expected(neg_strategy="hard")
    assert table.column_names == ["anchor", "positive", "negative", "d_ap", "d_an", "fell_back"]
    assert table["anchor"].to_pylist() == triplets.anchors.tolist()
    assert table["negative"].to_pylist() == triplets.negatives.tolist()
    assert json.loads(table.schema.metadata[b"tripletmine"])["triplets"] == len(triplets)
    assert names(data) == ["out.parquet", "x.npy", "y.npy"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mine", "no.npy", "y.npy", "-o", "o.npz"], 1, "no.npy: No such file"),
        (["mine", "x.npy", "x.npy", "-o", "o.npz"], 1, "labels"),
        (["mine", "x.npy", "y.npy", "-o", "o.npz", "--num-negatives", "0"], 1, "num_negatives"),
        (["mine", "x.npy", "y.npy", "-o", "o.csv"], 1, "unknown extension '.csv'"),
        (["mine", "x.npy", "y.npy", "-o", "no/o.npz"], 1, "no/o.npz: cannot be written"),
        (["mine", "x.npy", "y.npy", "-o", "o.npz", "--metric", "cosin"], 2, "cosin"),
        (["mine", "x.npy", "y.npy"], 2, "-o"),
        (["mine", "x.npy", "y.npy", "-o", "o.npz", "--anchors", "5"], 2, "START:STOP"),
        (["mine", "x.npy", "y.npy", "-o", "o.npz", "--met", "dot"], 2, "--met"),
        ([], 2, "COMMAND"),
    ],
)
def test_failures(data, arguments, code, said):
    done = run(*arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("tripletmine: error: ")
        assert done.stderr.count("\n") == 1
    assert names(data) == ["x.npy", "y.npy"]


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "tripletmine: interrupted, nothing written\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_interrupt_leaves_nothing(tmp_path, number, code, said):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((60_000, 512), dtype=np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 50, 60_000))
    # Handlers are set here: a shell starts background jobs with SIGINT ignored, nohup with SIGHUP.
    start = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from tripletmine import cli; print('ready', flush=True); sys.exit(cli.main(sys.argv[1:]))"
    )
    arguments = [
        "mine",
        "x.npy",
        "y.npy",
        "-o",
        "out.parquet",
        "--neg-strategy",
        "hard",
        "--n-threads",
        "2",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", start, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            assert process.poll() is None, "finished before it could be interrupted"
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == code
    assert stdout == ""
    assert stderr == said
    assert names(tmp_path) == ["x.npy", "y.npy"]
    (tmp_path / "x.npy").unlink()  # pytest keeps the folder


def test_nobody_reads_what_is_printed(data):
    """Quietly, as other programs end in a pipe."""
    command = [*RUN, "census", "x.npy", "y.npy", "--margins", "0.1", "--per", "anchor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_terminal_sees_progress_and_a_drawn_table(data):
    ours, theirs = pty.openpty()
    # TERM is dumb where the tests have no terminal of their own.
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    arguments = ["mine", "x.npy", "y.npy", "-o", "out.npz"]
    with subprocess.Popen(
        [*RUN, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux ends a pseudo-terminal with EIO
                break
            if not part:
                break
            seen += part
    os.close(ours)
    text = seen.decode()
    assert process.returncode == 0
    assert "mining" in text
    assert "\x1b[" in text
    assert "│" in text
    assert "triplets written to out.npz" in text


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_numbers_are_whole_where_a_terminal_is_narrow(monkeypatch, capsys, terminal):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = ["0.1", *(f"{number},854,016,123" for number in range(10, 18))]
    _summary.print_table("triplets", ["margin", *"abcdefgh"], [row])
    shown = capsys.readouterr().out
    assert "│" in shown
    assert all(text in shown for text in row)


# --------------------------------------------------------------------------------- in this process


def test_options_take_negative_numbers(data, monkeypatch):
    infinite = ["--metric", "dot", "--allowed-neg-range", "-Infinity", "-0.5"]
    assert called(monkeypatch, *infinite)["allowed_neg_range"] == [-np.inf, -0.5]
    small = ["--metric", "dot", "--allowed-pos-range", "-1e3", "-.5"]
    assert called(monkeypatch, *small)["allowed_pos_range"] == [-1000.0, -0.5]
    assert called(monkeypatch, "--anchors", "-10:")["anchors"] == slice(-10, None)
    assert called(monkeypatch, "--anchors", ":-10")["anchors"] == slice(None, -10)


def test_columns_are_of_the_files_that_have_some(data):
    x, y = np.load("x.npy"), np.load("y.npy")
    columns = {"label": y, "number": np.arange(60), "x": list(x)}
    pq.write_table(pa.table(columns), "t.parquet")
    arguments = ["t.parquet", "t.parquet", "--ref-emb", "x.npy", "--ref-labels", "y.npy"]
    named = ["--labels-column", "label", "-o", "out.npz"]
    assert cli.main(["mine", *arguments, *named]) == 0
    assert_written("out.npz", tripletmine.mine(x, y, x, y))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["mine", "x.npy", "y.npy", "--groups-column", "g", "-o", "out.npz"],
            "--groups-column: found 'g' without --groups, expected both or neither",
        ),
        (
            ["mine", "x.npy", "y.npy", "--labels-column", "g", "-o", "out.npz"],
            "y.npy: a .npy file has no columns, found column 'g'",
        ),
        (
            ["negatives", "x.npy", "x.npy", "--positives-column", "p", "-o", "out.npz"],
            "--positives-column: found 'p' without --positives, expected both or neither",
        ),
        (
            ["negatives", "x.npy", "x.npy", "--output-format", "n-tuple", "-o", "out.npz"],
            "--output-format: found 'n-tuple' with out.npz, expected it with a .parquet file",
        ),
        (
            ["mine", "x.npy", "link.parquet", "-o", "t.parquet"],
            "t.parquet: found it as labels too, expected another file to write",
        ),
    ],
    ids=["groups", "npy", "positives", "format", "input"],
)
def test_nothing_given_is_ignored_or_overwritten(data, capsys, arguments, said):
    pq.write_table(pa.table({"label": np.load("y.npy")}), "t.parquet")
    (data / "link.parquet").symlink_to("t.parquet")
    before = (data / "t.parquet").read_bytes()
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == f"tripletmine: error: {said}\n"
    assert (data / "t.parquet").read_bytes() == before


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_with_and_without_rich(data, monkeypatch, capsys, rich):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    if not rich:
        monkeypatch.setattr(cli._shared, "find_spec", lambda name: None)
        monkeypatch.setattr(_summary, "find_spec", lambda name: None)
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz"]) == 0
    assert_written("out.npz", expected())
    out, err = capsys.readouterr()
    assert ("│" in out) == rich
    assert rich or err == ""


def test_defaults_are_those_of_mine(data, monkeypatch):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(tripletmine.mine).parameters.items()
    }
    seen = called(monkeypatch)
    assert seen.keys() == defaults.keys()  # every option of mine can be given
    for name in defaults.keys() - {"embeddings", "labels"}:
        assert seen[name] == defaults[name], name


def test_every_option_arrives(data, monkeypatch):
    options = """
        --pos-strategy hard --neg-strategy easy --metric dot --margin 0.5 --type-of-triplets easy
        --fallback hard --num-negatives 3 --range-min 2 --allowed-pos-range -1.5 2
        --allowed-neg-range 0 inf --max-triplets 99 --seed 4 --n-threads 2 --anchors 3:50:2
        --ref-emb x.npy --ref-labels y.npy --groups y.npy --ref-groups y.npy
    """
    seen = called(monkeypatch, *options.split())
    x, y = np.load("x.npy"), np.load("y.npy")
    for name, array in {
        "embeddings": x,
        "labels": y,
        "ref_emb": x,
        "ref_labels": y,
        "groups": y,
        "ref_groups": y,
    }.items():
        np.testing.assert_array_equal(seen.pop(name), array)
    assert seen == {
        "pos_strategy": "hard",
        "neg_strategy": "easy",
        "metric": "dot",
        "margin": 0.5,
        "type_of_triplets": "easy",
        "fallback": "hard",
        "num_negatives": 3,
        "range_min": 2,
        "allowed_pos_range": [-1.5, 2.0],
        "allowed_neg_range": [0.0, np.inf],
        "max_triplets": 99,
        "seed": 4,
        "n_threads": 2,
        "anchors": slice(3, 50, 2),
        "progress": None,
    }


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--pos-strategy", _options.POS_STRATEGIES),
        ("--neg-strategy", _options.NEG_STRATEGIES),
        ("--metric", _options.METRICS),
        ("--type-of-triplets", _options.TRIPLET_TYPES),
        ("--fallback", _options.FALLBACKS),
    ],
)
def test_choices(data, monkeypatch, capsys, option, choices):
    for choice in choices:
        assert called(monkeypatch, option, choice)[option[2:].replace("-", "_")] == choice
    with pytest.raises(SystemExit) as error:
        cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz", option, "wrong"])
    assert error.value.code == 2
    assert choices[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("10:20", slice(10, 20)),
        (":", slice(None)),
        ("-5:", slice(-5, None)),
        ("::7", slice(None, None, 7)),
    ],
)
def test_anchors_slice(data, text, rows):
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz", f"--anchors={text}"]) == 0
    assert_written("out.npz", expected(anchors=rows))


def test_anchors_file(data):
    np.save("anchors.npy", [3, 5, 59])
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz", "--anchors", "anchors.npy"]) == 0
    assert_written("out.npz", expected(anchors=[3, 5, 59]))


def test_one_parquet_file_for_all(data):
    x, y, groups = np.load("x.npy"), np.load("y.npy"), np.arange(60) // 2
    rows = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 7)
    names_of_y = [f"class {label}" for label in y]
    pq.write_table(
        pa.table({"emb": rows, "other": rows, "label": names_of_y, "group": groups}), "all.parquet"
    )
    arguments = ["mine", "all.parquet", "all.parquet", "-o", "out.npz", "--groups", "all.parquet"]
    columns = ["--embeddings-column", "emb", "--labels-column", "label", "--groups-column", "group"]
    assert cli.main([*arguments, *columns]) == 0
    assert_written("out.npz", expected(groups=groups))


def test_output_is_checked_before_any_work(data, monkeypatch, capsys):
    monkeypatch.setattr(_files, "read_embeddings", lambda *_: pytest.fail("read"))
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "no/out.npz"]) == 1
    assert "no/out.npz: cannot be written" in capsys.readouterr().err


# As most shells have it: what is printed is written out in the end.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

WRITING = {
    "mine": ("mine", "x.npy", "y.npy", "-o", "\u00f6ut.npz"),
    "negatives": ("negatives", "x.npy", "x.npy", "-o", "\u00f6ut.npz"),
    "sample": ("sample", "x.npy", "y.npy", "-n", "9", "-o", "\u00f6ut.npz"),
    "census": ("census", "x.npy", "y.npy", "--margins", "0.1", "-o", "\u00f6ut.csv"),
}


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("stdout", ["full", "pipe", "ascii", "closed", "none"])
def test_what_is_written_stays_written_where_nothing_can_be_printed(data, command, stdout):
    shell = {
        "full": '"$@" > /dev/full',
        "pipe": 'sleep 0 | "$@" > >(exec true)',
        "ascii": 'PYTHONIOENCODING=ascii "$@"',
        "closed": '"$@" >&-',
        "none": '"$@" >&- 2>&-',
    }[stdout]
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *RUN, *WRITING[command]],
        env=BUFFERED,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (data / WRITING[command][-1]).stat().st_size > 0


@pytest.mark.parametrize(("stdout", "code"), [("/dev/full", 1), (os.devnull, 0)])
def test_numbers_that_can_only_be_printed_are_not_lost_silently(data, stdout, code):
    with Path(stdout).open("w") as lost:
        done = subprocess.run(
            [*RUN, "census", "x.npy", "y.npy", "--margins", "0.1"],
            env=BUFFERED,
            stdout=lost,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == code
    assert done.stderr.count("\n") == code


def test_a_pipe_is_no_input(data):
    os.mkfifo("pipe.npy")
    done = run("mine", "pipe.npy", "y.npy", "-o", "out.npz")
    assert done.returncode == 1
    assert done.stderr.startswith("tripletmine: error: pipe.npy: not a regular file")


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_failed_write_keeps_the_old_file(data, monkeypatch, capsys, suffix):
    (data / f"out.{suffix}").write_text("old")

    def half(path, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", half)
    assert cli.main(["mine", "x.npy", "y.npy", "-o", f"out.{suffix}"]) == 1
    said = f"tripletmine: error: out.{suffix}: No space left on device\n"
    assert capsys.readouterr().err == said
    assert (data / f"out.{suffix}").read_text() == "old"
    assert names(data) == [f"out.{suffix}", "x.npy", "y.npy"]


def test_parquet_is_written_block_by_block(data, monkeypatch, capsys):
    """More triplets than a block holds: never whole in memory, and the same file."""
    options = ["--pos-strategy", "all", "--neg-strategy", "all"]
    blocks = tripletmine.mine_blocks
    monkeypatch.setattr(tripletmine, "mine", lambda *_, **__: pytest.fail("mined whole"))
    monkeypatch.setattr(
        tripletmine, "mine_blocks", lambda *a, **b: blocks(*a, **b, block_triplets=1000)
    )
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.parquet", *options]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(data)
    whole = expected(pos_strategy="all", neg_strategy="all")
    whole.to_parquet("whole.parquet")
    table = pq.read_table("out.parquet")
    assert pq.ParquetFile("out.parquet").num_row_groups == -(-len(whole) // 1000)
    assert table.equals(pq.read_table("whole.parquet"))
    report = json.loads(table.schema.metadata[b"tripletmine"])
    own = {"seconds", "pairs_decided"}
    assert {k: v for k, v in report.items() if k not in own} == {
        k: v for k, v in whole.report.as_dict().items() if k not in own
    }
    assert f"{len(whole):,} triplets written to out.parquet" in capsys.readouterr().out


def test_a_limit_is_kept_for_parquet_too(data, capsys):
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "o.parquet", "--max-triplets", "59"]) == 1
    assert "max_triplets: found 60 triplets" in capsys.readouterr().err
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "o.parquet", "--max-triplets", "60"]) == 0
    assert pq.read_table("o.parquet").num_rows == 60


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_stopped_between_blocks_nothing_is_left(data, monkeypatch, capsys, error):
    def blocks(*args, **options):
        yield expected()
        raise error

    monkeypatch.setattr(tripletmine, "mine_blocks", blocks)
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.parquet"]) in (1, 130)
    assert capsys.readouterr().out == ""
    assert names(data) == ["x.npy", "y.npy"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "tripletmine: interrupted, nothing written\n"),
        (MemoryError(), 1, "tripletmine: error: MemoryError\n"),
        (ValueError("two\nlines"), 1, "tripletmine: error: two lines\n"),
        (OSError(13, "Denied", "x.npy"), 1, "tripletmine: error: x.npy: Denied\n"),
    ],
)
def test_errors_while_mining(data, monkeypatch, capsys, error, code, said):
    def mine(*_, **__):
        raise error

    monkeypatch.setattr(tripletmine, "mine", mine)
    assert cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz"]) == code
    assert capsys.readouterr().err == said
    assert names(data) == ["x.npy", "y.npy"]


def test_a_bug_shows_itself(data, monkeypatch):
    monkeypatch.setattr(tripletmine, "mine", lambda *_, **__: {}["bug"])
    with pytest.raises(KeyError):
        cli.main(["mine", "x.npy", "y.npy", "-o", "out.npz"])


def test_report_is_aligned_text(data, capsys):
    report = expected().report
    _summary.print_report(report)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "mined"
    assert len(lines) == len(report.as_dict())
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["anchors", "60"]


def test_version_and_info(capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["--version"])
    assert error.value.code == 0
    assert capsys.readouterr().out == f"tripletmine {tripletmine.__version__}\n"
    assert cli.main(["info"]) == 0
    by_command = capsys.readouterr().out
    tripletmine.show_versions()
    assert by_command == capsys.readouterr().out != ""


@pytest.mark.parametrize("command", ["mine", "negatives", "info", "demo"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main([command, "--help"])
    assert error.value.code == 0
    assert f"tripletmine {command}" in capsys.readouterr().out
