"""What a chat template does to prompts, demonstrations and completions is seen, or said, before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import MICRO
from rlvr import chat_template, console, protocol, slices, tables, template_check, tiny
from rlvr import config as experiment_config
from rlvr.engines import generation, models, sft_data
from rlvr.engines.decoding import Decoding, Sampled
from rlvr.errors import RlvrError
from rlvr.protocol import Protocol
from rlvr.protocol_lock import under
from rlvr.reporting import protocols
from rlvr.reporting.results import Results
from rlvr.rewards import Scorer
from rlvr.stages import base, generate, memory, report, score

TURN = "{{ '<|im_start|>' + message['role'] + '\n' + content + '<|im_end|>\n' }}"
GENERATION = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\nOPENED' }}{% endif %}"


def template(each: str = "", opened: str = "", before: str = "") -> str:
    """A ChatML template. each: run on every message, whose text is `content`. opened: put at the end of a prompt."""
    loop = "{% for message in messages %}{% set content = message['content'] %}" + each + TURN + "{% endfor %}"
    return before + loop + GENERATION.replace("OPENED", opened)


ASSISTANT = "{% if message['role'] == 'assistant' %}{% set content = CONTENT %}{% endif %}"
PREFILLED = template(opened="<think>\n")
CUT = template(ASSISTANT.replace("CONTENT", "content.split('</think>')[-1]"), "<think>\n")
PADDED = template(ASSISTANT.replace("CONTENT", "'<think>\n\n</think>\n\n' + content"))
CLOSED = template(opened="<think>\n\n</think>\n\n")
ALTERNATING = template(
    before="{% if messages[0]['role'] == 'system' %}{{ raise_exception('roles must alternate') }}{% endif %}"
)
NO_SYSTEM = template("{% if message['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}")
DROPS_SYSTEM = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + template()
FOLDS_SYSTEM = (
    "{% set ns = namespace(system='') %}{% if messages[0]['role'] == 'system' %}"
    "{% set ns.system = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    + template("{% if loop.first %}{% set content = ns.system + content %}{% endif %}")
)
NO_GENERATION = template().replace(GENERATION.replace("OPENED", ""), "")
OWN_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful robot.<|im_end|>\n' }}"
    "{% endif %}" + template()
)
MISTRAL = (
    "{% set given = messages[1:] if messages[0]['role'] == 'system' else messages %}{% for message in given %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + (messages[0]['content'] + '\n\n' if loop.last and "
    "messages[0]['role'] == 'system' else '') + message['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
"""Has no header before an answer, and renders the system prompt where the last message is a user's."""
UNASKED = template() + "{% if messages[-1]['role'] != 'assistant' %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
UNASKED = UNASKED.replace(GENERATION.replace("OPENED", ""), "")
OPENS = "('<think></think>' if '/no_think' in messages[-1]['content'] else '<think>\n')"
TOGGLED = template().replace("assistant\n' }}", f"assistant\n' + {OPENS} }}}}")
MODERN_GEMMA = template().replace("<|im_start|>", "<|turn>").replace("<|im_end|>", "<turn|><|im_end|>")
DATED = template(before="{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}")


@pytest.fixture(scope="module")
def rows(made):
    return tables.read(made.sft)[:8]


def with_template(made, folder: Path, text: str) -> Path:
    """A copy of the tiny model with another template."""
    shutil.copytree(made.base, folder)
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    return folder


def loaded(made, text: str):
    tokenizer = models.load_tokenizer(made.base)
    tokenizer.chat_template = text
    return tokenizer


def based(made, folder: Path, text: str, **task) -> tuple[dict, str]:
    """Facts of the base stage on a model with a template, and what it says."""
    source = with_template(made, folder / "source", text)
    config = {"base": {"model": str(source)}, "seed": 0}
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "say", said.append)
        facts = base.run(config, data=[made.sft, made.train], weights=folder / "weights")
    return facts, "\n".join(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NO_SYSTEM, 'refuses a system prompt (TemplateError: No system role); allowed: set system_prompt: ""'),
        (ALTERNATING, 'refuses a system prompt (TemplateError: roles must alternate); allowed: set system_prompt'),
        (DROPS_SYSTEM, 'leaves out the system\'s message of countdown; allowed: set system_prompt: ""'),
        (NO_GENERATION, "no generation prompt: nothing tells the model that its turn begins; allowed: add {% if"),
        (template("{{ 1 // 0 }}"), "can't be rendered"),
    ],
)  # fmt: skip
def test_the_base_stage_refuses_a_template_under_which_nothing_can_be_trained(made, tmp_path, text, said):
    with pytest.raises(RlvrError) as refused:
        based(made, tmp_path, text)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PREFILLED, r"its generation prompt opens every completion with '<think>\n', which counts as a part of it"),
        (
            CUT,
            "its template cuts or changes an assistant's turn; SFT trains on the demonstrations of countdown in full",
        ),
        (PADDED, "its template adds to an assistant's turn"),
        (DATED, "may put the date of the day into prompts"),
        (template().replace("im_end", "im_start"), "ends a turn with '<|im_start|>"),
        (FOLDS_SYSTEM, ""),
        (MISTRAL, "its template adds to an assistant's turn"),
        (UNASKED, r"its generation prompt opens every completion with '<think>\n'"),
        (MODERN_GEMMA, ""),
        (template(), ""),
    ],
)
def test_the_base_stage_says_what_else_a_template_does(made, tmp_path, text, said):
    facts, lines = based(made, tmp_path, text)
    assert said in lines and bool(said) == bool(lines)
    assert lines.splitlines() == [f"base: {line}" for line in facts["template"]]


def test_a_prompt_that_the_template_writes_itself_is_said(made):
    tokenizer = loaded(made, OWN_SYSTEM)
    user = [{"role": "user", "content": "1 + 1"}]
    (found,) = template_check.examine(tokenizer, {tokenizer.eos_token_id}, [{"task": "t", "prompt": user}])
    assert "adds text of its own to prompts: 'You are a helpful" in found.text
    system = [{"role": "system", "content": "Add."}, *user]
    assert not template_check.examine(tokenizer, {tokenizer.eos_token_id}, [{"task": "t", "prompt": system}])


def test_a_template_that_wants_a_system_prompt_is_fine_where_there_is_one(made, tmp_path):
    wants = template(before="{% if messages[0]['role'] != 'system' %}{{ raise_exception('no system') }}{% endif %}")
    assert based(made, tmp_path, wants)[0] == {"template": []}


def test_tags_that_decoding_leaves_out_are_said(made):
    tokenizer = loaded(made, template())
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    user = [{"role": "user", "content": "1 + 1"}]
    (found,) = template_check.examine(tokenizer, {tokenizer.eos_token_id}, [{"task": "t", "prompt": user}])
    assert found.text == "its tokenizer leaves <think> and </think> out of completions, as they are special tokens"


def test_the_prompts_of_all_arms_are_tried_before_training(made, tmp_path):
    """Training without a system prompt, one arm with one, under a template that refuses it."""
    silent = {**MICRO["tasks"]["countdown"], "system_prompt": "", "prompts": {"base": {"system_prompt": "Add."}}}
    file = tmp_path / "experiment.yaml"
    file.write_text(json.dumps({**MICRO, "tasks": {"countdown": silent}}), encoding="utf-8")
    cut = slices.of(experiment_config.load([file]))
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(cut["prompts"]), encoding="utf-8")
    outputs = {name: tmp_path / name for name in ("estimate", "probe", "passed")}
    config = {**cut["preflight"], "mode": "off"}
    refusing = with_template(made, tmp_path / "model", NO_SYSTEM)
    with pytest.raises(RlvrError, match=r'^base: its template refuses a system prompt .*system_prompt: ""'):
        memory.run(config, base=refusing, prompts=prompts, **outputs)
    memory.run(config, base=made.base, prompts=prompts, **outputs)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        (template(), ""),
        (PREFILLED, "<think>\n"),
        (CUT, "<think>\n"),
        (PADDED, ""),
        (CLOSED, ""),
        (template(ASSISTANT.replace("CONTENT", "'<think>\n\n</think>\n\n' + content"), "<think>\n"), "<think>\n"),
        (template(opened="[THINK]"), "[THINK]"),
        (template(opened="Let me see: "), "Let me see: "),
        (template(opened="</think>"), ""),
        (NO_GENERATION, ""),
        (FOLDS_SYSTEM, ""),
        (MISTRAL, ""),
        (UNASKED, "<think>\n"),
        (template("{% if message['role'] == 'assistant' %}{% set content = '' %}{% endif %}"), ""),
        (TOGGLED, "<think>\n"),
    ],
)
def test_what_a_prompt_opens_of_the_completion(made, rows, text, prefix):
    assert chat_template.turn(loaded(made, text), rows[0]["prompt"]).prefix == prefix


def test_what_a_prompt_opens_may_hang_on_the_last_message(made):
    prefixes = chat_template.Prefixes(loaded(made, TOGGLED))
    of = [prefixes.of([{"role": "user", "content": text}]) for text in ("1 + 1", "1 + 1 /no_think", "2 + 2", "")]
    assert of == ["<think>\n", "", "<think>\n", "<think>\n"]


@pytest.mark.parametrize("text", [PREFILLED, CUT, PADDED, CLOSED, template(), FOLDS_SYSTEM, MISTRAL, UNASKED])
def test_sft_teaches_the_whole_demonstration_once_right_after_the_prompt_of_sampling(made, rows, text):
    tokenizer = loaded(made, text)
    prepared, used = sft_data.rows(tokenizer, rows)
    with chat_template.replaced(tokenizer, used):
        rendered = [
            [tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not completion)
             for completion, messages in enumerate((row["prompt"], row["prompt"] + row["completion"]))]
            for row in prepared
        ]  # fmt: skip
    assert tokenizer.chat_template == text
    for row, (prompt, whole) in zip(rows, rendered, strict=True):
        (sampled,) = generation.encode(tokenizer, [row["prompt"]])
        assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == sampled
        assert whole.startswith(prompt)
        demonstration, prefix = row["completion"][-1]["content"], chat_template.turn(tokenizer, row["prompt"]).prefix
        assert (prefix + whole[len(prompt) :]).rstrip() == demonstration + "<|im_end|>"


def test_a_demonstration_under_another_tag_goes_on_under_that_of_the_prompt():
    assert chat_template.learnt("<reasoning>\n1\n</reasoning>\n<answer>1</answer>", "<think>\n") == (
        "1\n</think>\n<answer>1</answer>"
    )
    assert chat_template.learnt("<think>\n1", "<think>\n\n") == "1"
    assert chat_template.learnt("The answer", "<think>") is None


def test_a_demonstration_that_can_not_go_on_from_the_prompt_is_refused(made, rows):
    tokenizer = loaded(made, template(opened="Sure: "))
    found = template_check.examine(tokenizer, {tokenizer.eos_token_id}, rows)
    assert "opens 'Sure: ', but the demonstrations of countdown begin with '<think>" in found[-1].text
    assert found[-1].mark == "lack"


class Answers:
    """An engine that gives the same tokens for every prompt."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def complete(self, prompts, seed, progress):
        return [[Sampled(self.ids)] for _ in prompts]

    def close(self) -> None: ...


def test_a_completion_begins_with_what_the_prompt_opened(made, rows):
    tokenizer = loaded(made, PREFILLED)
    row = rows[0]
    rest = row["completion"][-1]["content"].removeprefix("<think>\n")
    ids = [*tokenizer(rest, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    generator = generation.Generator(Answers(ids), tokenizer, [tokenizer.eos_token_id], Decoding(99, 1), None)
    [[found]] = generator.complete([row["prompt"]], 0)
    assert found == {"completion": row["completion"][-1]["content"], "tokens": len(ids), "finish": "stop"}


def test_rewards_in_training_see_what_the_prompt_opened(made, rows):
    tokenizer = loaded(made, PREFILLED)
    row = rows[0]
    rest = row["completion"][-1]["content"].removeprefix("<think>\n")
    for prefix, strict in ((chat_template.Prefixes(tokenizer).of, True), (None, False)):
        scorer = Scorer(["correctness", "format", "strict_format"], {1}, prefix=prefix)
        values = [
            function(
                prompts=[row["prompt"]],
                completions=(given := [[{"role": "assistant", "content": rest}]]) if i == 0 else given,
                completion_ids=[[5, 1]],
                task=["countdown"],
                key=[row["key"]],
                example=[row["example"]],
                trainer_state=SimpleNamespace(global_step=0),
            )
            for i, function in enumerate(scorer.functions())
        ]
        assert (scorer.latest[0]["strict"], values[0], values[1]) == (strict, [2.0 * strict], [1.0 * strict])
        assert scorer.latest[0]["completion"] == ("<think>\n" if strict else "") + rest


def test_a_model_that_is_asked_by_a_prefilled_prompt_is_judged_by_all_of_its_turn(made, rows, tmp_path, monkeypatch):
    model = with_template(made, tmp_path / "model", PREFILLED)
    data, completions, scores = (tmp_path / f"{name}.parquet" for name in ("data", "completions", "scores"))
    tables.write(data, [{key: row[key] for key in tables.ITEM.names} for row in rows], tables.ITEM)
    tokenizer = models.load_tokenizer(model)
    rests = {row["key"]: row["completion"][-1]["content"].removeprefix("<think>\n") for row in rows}

    class Demonstrates(Answers):
        def complete(self, prompts, seed, progress):
            texts = [f"{rests[row['key']]}<|im_end|>" for row in rows]
            return [[Sampled(tokenizer(text, add_special_tokens=False)["input_ids"], [0.0] * 99)] for text in texts]

    monkeypatch.setattr(generation, "TransformersEngine", lambda *_: Demonstrates([]))
    config = {"device": "cpu", "engine": "transformers", "prompt": None, "sampled": None,
              "max_completion_tokens": 99, "batch_size": 8}  # fmt: skip
    facts = generate.run(config, model=model, data=data, completions=completions)
    score.run({"task": "countdown"}, data=data, completions=completions, scores=scores)
    assert all(row["strict"] for row in tables.read(scores))
    assert facts["protocol"]["countdown"]["completion_prefix"] == "<think>\n"


def test_the_protocol_and_the_page_show_what_the_prompt_opened(made):
    known = [Protocol("countdown", "Think.", None)]
    (met,) = under(known, loaded(made, PREFILLED), [2]).values()
    (plain,) = under(known, loaded(made, template()), [2]).values()
    assert (met.completion_prefix, plain.completion_prefix) == ("<think>\n", "")
    assert protocol.difference(plain, dataclasses.replace(plain, completion_prefix="<think>")) != []
    shown = [protocols._row(each, ["x"])["completion begins with"] for each in (met, plain)]
    assert shown == [r"'<think>\n'", "what is generated"]


def test_a_prompt_that_a_template_refuses_is_one_line_wherever_it_is_met(made, rows):
    with pytest.raises(RlvrError, match=r'^the chat template refuses a prompt \(No system role\); .*system_prompt: ""'):
        generation.encode(loaded(made, NO_SYSTEM), [rows[0]["prompt"]])


def test_the_page_shows_what_the_template_does(finished, tmp_path, monkeypatch):
    results = finished / "results" / "micro"
    known = Results.manifests

    def with_a_line(self):
        found = known(self)
        found["model/base/manifest.json"]["template"] = ["it opens '<think>'"]
        return found

    monkeypatch.setattr(Results, "manifests", with_a_line)
    config = json.loads((results / "config" / "report.json").read_text(encoding="utf-8"))
    report.run(config, results=results, report=tmp_path / "report", again=True)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "<li>it opens &#39;&lt;think&gt;&#39;</li>" in page and "completion begins with" in page


@pytest.mark.slow
@pytest.mark.parametrize("text", [CUT, PADDED])
def test_sft_counts_loss_on_the_reasoning(made, tmp_path, text):
    """As many tokens carry loss as under a template that leaves the turn as it is."""
    from rlvr.stages import sft

    counts = []
    for name, each in (("plain", template()), ("changed", text)):
        model = with_template(made, tmp_path / name, each)
        outputs = {
            "policy": tmp_path / f"{name}-sft" / "policy",
            "metrics": tmp_path / f"{name}-sft" / "metrics.parquet",
        }
        outputs["metrics"].parent.mkdir()
        facts = sft.run({**made.cut["sft"], "device": "cpu"}, base=model, data=[made.sft], **outputs)
        counts.append((facts["examples"], facts["tokens_with_loss"]))
    (plain, changed) = counts
    prefix = len(models.load_tokenizer(tmp_path / "changed")("<think>\n", add_special_tokens=False)["input_ids"])
    assert 0 <= plain[1] - changed[1] <= plain[0] * (prefix + 1) and plain[0] == changed[0]


@pytest.mark.slow
def test_grpo_on_a_prefilled_prompt_keeps_what_it_opened(made, tmp_path):
    from rlvr.stages import grpo

    model = with_template(made, tmp_path / "model", PREFILLED)
    files = {name: tmp_path / "grpo" / f"{name}.parquet" for name in ("metrics", "completions", "evaluated")}
    files["policy"] = tmp_path / "grpo" / "policy"
    files["policy"].parent.mkdir()
    facts = grpo.run({**made.cut["grpo/dapo/seed0"], "device": "cpu"}, base=model, data=[made.train], **files)
    assert all(row["completion"].startswith("<think>\n") for row in tables.read(files["completions"]))
    assert facts["protocol"]["countdown"]["completion_prefix"] == "<think>\n"


def test_the_template_of_the_tiny_model_changes_nothing(made, rows):
    tokenizer = models.load_tokenizer(made.base)
    prepared, used = sft_data.rows(tokenizer, rows)
    assert used == tokenizer.chat_template == tiny.CHAT_TEMPLATE
    assert prepared == [{key: row[key] for key in ("prompt", "completion")} for row in rows]
