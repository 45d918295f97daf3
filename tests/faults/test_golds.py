"""Golds that went through other types are read as the number that was meant, or named by row; none is unlearnable."""

from __future__ import annotations

import csv
import datetime
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr.errors import RlvrError
from rlvr.stages import data
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks import countdown, gsm8k, numeric, scalars
from rlvr_plugins.verifiers.numbers import parse_number

MEANT = [
    (0.1 + 0.2, "0.3"),
    (1.1 + 2.2, "3.3"),
    (0.1 + 0.7, "0.8"),
    (4.35 * 100, "435"),
    (1.005 * 1000, "1005"),
    (sum([0.1] * 100), "10"),
    (-0.30000000000000004, "-0.3"),
    (float(np.float32(0.3)), "0.3"),
    (float(np.float32(123.45)), "123.45"),
    (18.0, "18"),
    (-0.0, "0"),
    (1e-05, "0.00001"),
    (3.0000000000000004e-05, "0.00003"),
    (1e20, "1e20"),
    (2.5, "2.5"),
    (123456.789, "123456.789"),
    (0.0009765625, "0.0009765625"),
    (1234567890123456.0, "1234567890123456"),
    (2**70, str(2**70)),
    (72, "72"),
]
UNCLEAR = [1 / 3, 2 / 3, 22 / 7, 500 / 3, 3.141592653589793, 2.0**53 + 2, 1.2345678901234567e19, 0.7071067811865476]
NO_NUMBER = [True, None, float("nan"), float("inf"), [1], {"a": 1}]


def options(folder: Path, train: Path, **more) -> gsm8k.Options:
    test = folder / "test.jsonl"
    test.write_text('{"question": "held out", "answer": "1"}\n', encoding="utf-8")
    return gsm8k.Options(source="path", train_path=str(train), eval_path=str(test), **more)


def golds(chosen: gsm8k.Options) -> dict[int, str]:
    """The golds kept, by the number in their question."""
    found = gsm8k.splits(chosen, None, None, 0)
    assert all(parse_number(example.fields["answer"]) is not None for example in found.train)
    return {int(example.fields["question"].split()[1]): example.fields["answer"] for example in found.train}


def as_text(value: object) -> str:
    return "" if value is None else json.dumps(value)


def write(path: Path, values: list, kind: pa.DataType | None = None) -> Path:
    questions = [f"question {place}" for place in range(len(values))]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"question": questions, "answer": pa.array(values, kind)}), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["question", "answer"], *zip(questions, map(as_text, values), strict=True)])
    else:
        rows = [{"question": question, "answer": value} for question, value in zip(questions, values, strict=True)]
        lines = map(json.dumps, rows)
        path.write_text(
            "".join(f"{line}\n" for line in lines) if path.suffix == ".jsonl" else json.dumps(rows), encoding="utf-8"
        )
    return path


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_a_number_is_read_as_what_was_meant(tmp_path, ending):
    pairs = [pair for pair in MEANT if ending != "parquet" or isinstance(pair[0], float)]
    found = golds(options(tmp_path, write(tmp_path / f"train.{ending}", [value for value, _ in pairs])))
    for place, (value, expected) in enumerate(pairs):
        assert parse_number(found[place]) == Fraction(expected), value


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize("value", UNCLEAR)
def test_a_number_of_which_nobody_knows_what_was_meant_is_named_by_row(tmp_path, ending, value):
    path = write(tmp_path / f"train.{ending}", [1.5, value, 2.5])
    with pytest.raises(ValueError) as raised:
        golds(options(tmp_path, path))
    said = str(raised.value)
    where = {"jsonl": "line 2", "csv": "line 3"}.get(ending, "row 2")
    assert f"{path}, {where}: " in said and "write the number that is meant as a text" in said and len(said) < 400
    assert golds(options(tmp_path, path, on_bad_row="skip")) == {0: "1.5", 2: "2.5"}


@pytest.mark.parametrize("value", NO_NUMBER, ids=str)
def test_what_is_no_number_is_named_by_row(tmp_path, value):
    with pytest.raises(ValueError, match=r"train.jsonl, line 2: column 'answer' can't be used: it is "):
        golds(options(tmp_path, write(tmp_path / "train.jsonl", ["1", value])))


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-Infinity", "None", "2024-01-31", "2024-01-31 10:00:00", "NaT", "<NA>"]
)
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_text_that_is_no_number_is_named_by_row(tmp_path, text, ending):
    path = write(tmp_path / f"train.{ending}", ["1", text])
    if ending == "csv":
        path.write_text(f"question,answer\nquestion 0,1\nquestion 1,{text}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"(line|row) [23]: an answer that can't be read"):
        golds(options(tmp_path, path))


TEXTS = ["18", "1e-5", "0.3", "3.3"]
SINGLES = [0.3, 0.1, 72.0, 1234.567, 123.45, 1e-5, 1e10, 16777215.0]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.float32(), SINGLES, ["0.3", "0.1", "72", "1234.567", "123.45", "0.00001", "1e10", "16777215"]),
        (pa.float16(), [np.float16(0.1), np.float16(72), np.float16(2.5)], ["0.1", "72", "2.5"]),
        (pa.decimal128(10, 2), [Decimal("72.00"), Decimal("0.30"), Decimal("-1.25")], ["72", "0.3", "-1.25"]),
        (pa.decimal128(38, 18), [Decimal(0.1 + 0.2).quantize(Decimal("1e-18"))], ["0.3"]),
        (pa.decimal128(38, 0), [Decimal(10**37 + 1)], [str(10**37 + 1)]),
        (pa.decimal256(60, 3), [Decimal("0.125")], ["0.125"]),
        (pa.int8(), [7], ["7"]),
        (pa.uint64(), [2**64 - 1], [str(2**64 - 1)]),
        (
            pa.string(),
            ["18.0", "1e-05", "0.30000000000000004", "#### 3.3000000000000003"],
            ["18", "1e-5", "0.3", "3.3"],
        ),
        (pa.string(), ["np.float64(18.0)", "np.float32(0.3)", "np.int64(5)", "007", "$1,234.50"], None),
        (pa.large_string(), ["5"], ["5"]),
        (pa.dictionary(pa.int8(), pa.string()), ["5", "6", "5"], ["5", "6", "5"]),
    ],
    ids=str,
)
def test_every_type_of_a_parquet_column(tmp_path, kind, values, expected):
    found = golds(options(tmp_path, write(tmp_path / "train.parquet", values, kind)))
    expected = expected or ["18", "0.3", "5", "7", "1234.5"]
    assert [parse_number(found[place]) for place in range(len(values))] == list(map(Fraction, expected))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.float32(), 1 / 3),
        (pa.float32(), 123456789.0),
        (pa.float32(), 3.14159265),
        (pa.float16(), np.float16(1 / 3)),
        (pa.decimal128(38, 18), Decimal("0.333333333333333333")),
        (pa.timestamp("us"), datetime.datetime(2024, 1, 31)),
        (pa.date32(), datetime.date(2024, 1, 31)),
        (pa.duration("s"), datetime.timedelta(seconds=72)),
        (pa.bool_(), True),
        (pa.binary(), b"72"),
        (pa.float64(), float("nan")),
    ],
    ids=str,
)
def test_a_parquet_value_that_is_no_clear_number_is_named_by_row(tmp_path, kind, value):
    path = write(tmp_path / "train.parquet", [value], kind)
    with pytest.raises(ValueError, match=r"train.parquet, row 1: column 'answer' can't be used: it is ") as raised:
        golds(options(tmp_path, path))
    assert len(str(raised.value)) < 400 and "\n" not in str(raised.value)


def test_numbers_within_a_structure_keep_their_width(tmp_path):
    kind = pa.struct([("ground_truth", pa.float32()), ("all", pa.list_(pa.float32()))])
    values = pa.array([{"ground_truth": 0.3, "all": [0.1]}, {"ground_truth": 16777216.0 * 3 + 4, "all": []}], kind)
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"question": ["question 0", "question 1"], "reward_model": values}), path)
    known = {"eval_columns": {"answer": "answer"}, "on_bad_row": "skip"}
    assert golds(options(tmp_path, path, columns={"answer": "reward_model.ground_truth"}, **known)) == {0: "0.3"}
    assert golds(options(tmp_path, path, columns={"answer": "reward_model.all.0"}, **known)) == {0: "0.1"}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_integers_that_a_missing_value_made_floats(tmp_path, ending):
    """Pandas makes a column of floats of integers with a missing value."""
    path = tmp_path / f"train.{ending}"
    frame = pd.DataFrame({"nums": [[3, 5, 7], [2, 4, 6], [1, 2, 3]], "target": [15, None, 6], "id": [1, 2, None]})
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    chosen = countdown.Options(source="path", train_path=str(path), on_bad_row="skip")
    assert [example.key for example in countdown.splits(chosen, None, 2, 0).eval] in (
        ["3,5,7=15", "1,2,3=6"],
        ["1,2,3=6", "3,5,7=15"],
    )
    with pytest.raises(ValueError, match=r"column 'target' can't be used"):
        countdown.splits(countdown.Options(source="path", train_path=str(path)), None, 2, 0)


WRITTEN = ["[np.int64(3), np.int64(5), np.uint8(7)]", "array([3, 5, 7])", "np.array([3, 5, 7], dtype=int32)"]


@pytest.mark.parametrize(
    "numbers", ["[3, 5, 7]", "[3 5 7]", "[3.0, 5.0, 7.0]", "3, 5, 7", " [ 3  5   7 ] ", "(3, 5, 7)", *WRITTEN]
)
def test_lists_of_integers_as_tables_write_them(tmp_path, numbers):
    path = tmp_path / "rows.csv"
    path.write_text(f'nums,target\n"{numbers}",15\n', encoding="utf-8")
    chosen = countdown.Options(source="path", train_path=str(path))
    assert countdown.splits(chosen, None, 1, 0).eval[0].fields["numbers"] == [3, 5, 7]


@pytest.mark.parametrize(
    "numbers",
    [
        "[3, 5.5]",
        "[true, 1]",
        "[3, null]",
        "3; 5",
        "[[3], 5]",
        "array([[3], 5])",
        "np.sum([3, 5])",
        "3-5",
        "[9007199254740993.5]",
    ],
)
def test_lists_of_other_things_are_named(tmp_path, numbers):
    path = tmp_path / "rows.csv"
    path.write_text(f'nums,target\n"{numbers}",8\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"column 'nums' can't be used: .*allowed: a list of integers"):
        countdown.splits(countdown.Options(source="path", train_path=str(path)), None, 1, 0)


def test_scalars_of_numpy_as_a_plugin_may_hand_them_on():
    cases = [(np.float64(18), "18.0"), (np.float32(0.3), "0.3"), (np.int32(5), "5"), (np.uint8(5), "5")]
    for value, expected in [
        *cases,
        (np.bool_(True), None),
        (np.datetime64("2024-01-01"), None),
        (np.float16("nan"), None),
    ]:
        assert scalars.text(value) == expected


def test_rows_of_completions_are_read_alike():
    assert numeric.read({"answer": 0.1 + 0.2}).fields["answer"] == "0.3"
    with pytest.raises(ValueError, match="which is 1/3 cut off"):
        numeric.read({"answer": 1 / 3})
    assert countdown.read({"nums": [3.0, 5], "target": 8.0}).fields["numbers"] == [3, 5]


def test_a_held_out_gold_is_named_by_the_stage(tmp_path):
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text('{"question": "q", "answer": 1}\n', encoding="utf-8")
    test.write_text(json.dumps({"question": "one third", "answer": 1 / 3}) + "\n", encoding="utf-8")
    known = {"source": "path", "train_path": str(train), "eval_path": str(test)}
    sizes = dict.fromkeys(("train", "sft", "eval", "system_prompt", "user_prompt"))
    slice_ = {"task": "gsm8k", **sizes, "options": known, "with_sft": True, "seed": 0}
    files = {name: tmp_path / name for name in ("train", "eval", "sft", "stats")}
    with pytest.raises(RlvrError, match=r"tasks.gsm8k: .*test.jsonl, line 1: column 'answer' can't be used"):
        data.run(slice_, **files)
    assert catalogue().task("gsm8k").gold is numeric.gold
