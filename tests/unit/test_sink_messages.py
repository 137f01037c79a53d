"""What sinks say: JSON, text, and the templates of services."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from taskman_cli.core.sinks import TEMPLATES, ReportKind
from taskman_cli.core.templates import LEVELS
from taskman_cli.sinks.base import Message, Report
from taskman_cli.sinks.document import as_json, line_documents, message_document, report_document
from taskman_cli.sinks.template import Template, TemplateError, header_value, named, parse
from taskman_cli.sinks.testing import ODD, REPORT, message
from taskman_cli.sinks.words import facts_of, level_of, plain_text, title_of, title_of_report

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/message.schema.json").read_text("utf-8"))
LINE = SCHEMA | {"$ref": "#/$defs/line"}
for _name in ("required", "properties"):
    LINE = {key: value for key, value in LINE.items() if key != _name}

#: Any text, lone surrogates included.
texts = st.text(st.characters(codec=None), max_size=30)


def any_report() -> st.SearchStrategy[Report]:
    return st.builds(
        Report,
        seq=st.integers(0, 1 << 62),
        kind=st.sampled_from(ReportKind),
        at_ns=st.integers(-(1 << 63), 1 << 63),
        host=texts, instance=texts, ledger=texts, job=texts, task=texts, run=texts, state=texts,
        attempt=st.integers(0, 100),
        slot_ns=st.none() | st.integers(-(1 << 63), 1 << 63),
        detail=texts, reason=texts, signal=texts, command=texts,
        exit_code=st.none() | st.integers(0, 255),
        duration_ns=st.none() | st.integers(0, 1 << 62),
        cpu_s=st.none() | st.floats(0, 1e9),
        peak_rss_bytes=st.none() | st.integers(0, 1 << 50),
        output=st.lists(texts, max_size=5).map(tuple),
        count=st.integers(1, 10**6),
    )  # fmt: skip


messages = st.builds(
    Message, texts, st.lists(any_report(), min_size=1, max_size=3).map(tuple), is_test=st.booleans()
)


@given(messages)
def test_a_message_is_json_of_its_schema(given_message: Message) -> None:
    text = as_json(message_document(given_message))
    assert b"\n" not in text
    Draft202012Validator(SCHEMA).validate(json.loads(text))
    for line in line_documents(given_message):
        Draft202012Validator(LINE).validate(json.loads(as_json(line)))
    # No other program has lone surrogates.
    json.loads(text.decode("ascii")).__str__().encode("utf-8")


def test_the_schema_has_each_field_of_a_report() -> None:
    names = {
        "kind": "event", "at_ns": "at", "slot_ns": "slot", "started_ns": "started", "ended_ns": "ended",
        "duration_ns": "duration_s", "is_output_cut": "output_cut",
    }  # fmt: skip
    # What tells ledgers apart is part of the key.
    expected = {names.get(field.name, field.name) for field in fields(Report)} - {"ledger"} | {"title"}
    assert set(report_document(REPORT)) == expected
    assert set(SCHEMA["$defs"]["report"]["required"]) == expected
    assert set(SCHEMA["$defs"]["report"]["properties"]) == expected
    assert SCHEMA["$defs"]["report"]["properties"]["event"]["enum"] == [*ReportKind]


@given(messages)
def test_text_has_no_control_character_and_can_be_written(given_message: Message) -> None:
    text = plain_text(given_message)
    text.encode("utf-8")
    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert title_of(given_message).isprintable()


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (REPORT, "backup failed: exit 3"),
        (replace(REPORT, count=1_200), "backup failed: exit 3 (1,200 times)"),
        (replace(REPORT, task="db"), "backup.db failed: exit 3"),
        (replace(REPORT, kind=ReportKind.SUCCEEDED, detail=""), "backup succeeded in 2s"),
        (replace(REPORT, kind=ReportKind.SKIPPED, detail="", reason="missed"), "backup was skipped: missed"),
        (replace(REPORT, kind=ReportKind.RECOVERED, detail=""), "backup succeeds again"),
        (
            replace(REPORT, kind=ReportKind.SCHEDULER_DIED, job="", detail="killed by SIGKILL"),
            "the scheduler died: killed by SIGKILL",
        ),
        (replace(REPORT, job="a\r\nb", detail="\udce9"), "a\\r\\nb failed: \\xe9"),
        (replace(REPORT, detail="x" * 500), f"backup failed: {'x' * 184}…"),
    ],
)
def test_a_title_says_what_happened_on_one_line(report: Report, expected: str) -> None:
    assert title_of_report(report) == expected


def test_a_title_of_many_counts_them_and_names_the_first_jobs() -> None:
    reports = [replace(REPORT, job=f"job-{number}", seq=number) for number in range(5)]
    many = message(*reports, replace(REPORT, kind=ReportKind.TIMED_OUT, count=3))
    assert title_of(many) == "5 failed, 3 timed out: job-0, job-1, job-2 and 3 more"


def test_facts_are_what_is_known() -> None:
    assert [line.split()[0] for line in facts_of(REPORT).splitlines()] == [
        "run", "slot", "started", "ended", "used", "host", "more",
    ]  # fmt: skip
    unknown = Report(1, ReportKind.OVERDUE, 0, "h", "default", "l", job="backup")
    assert [line.split()[0] for line in facts_of(unknown).splitlines()] == ["at", "host"]


def test_each_kind_has_words_and_a_level() -> None:
    for kind in ReportKind:
        report = replace(REPORT, kind=kind)
        assert level_of(report) in LEVELS
        assert title_of_report(report)


# --- templates ---


def written(name: str, given_message: Message) -> list[Any]:
    return [json.loads(request.body) for request in named(name).requests(given_message, routing_key="KEY")]


def test_the_templates_are_those_that_the_job_file_names() -> None:
    import taskman_cli.sinks

    directory = Path(taskman_cli.sinks.__file__).parent / "templates"
    assert {file.stem for file in directory.glob("*.toml")} == {*TEMPLATES}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("odd", ODD)
def test_a_template_writes_each_message_within_the_limits_of_its_service(name: str, odd: str) -> None:
    #: What the services take at most, in bytes.
    limits = {
        "slack": 40_000, "discord": 12_000, "teams": 28_000,
        "ntfy": 4_096, "gotify": 64_000, "pagerduty": 512_000,
    }  # fmt: skip
    requests = [*named(name).requests(ODD[odd], routing_key="KEY")]
    assert len(requests) == (len(ODD[odd].reports) if name == "pagerduty" else 1)
    for request in requests:
        assert 0 < len(request.body) <= limits[name]
        if request.content_type == "application/json":
            json.loads(request.body).__str__().encode("utf-8")
        assert all(value.isascii() and value.isprintable() for value in request.headers.values())


@given(st.sampled_from(TEMPLATES), messages)
def test_a_template_writes_any_message(name: str, given_message: Message) -> None:
    for request in named(name).requests(given_message, routing_key="KEY"):
        if request.content_type == "application/json":
            text = str(json.loads(request.body))
        else:
            text = request.body.decode("utf-8")
        text.encode("utf-8")
        assert "\x1b" not in text


def test_slack_gets_no_mention_and_no_end_of_the_block() -> None:
    (body,) = written("slack", ODD["markup"])
    text = body["attachments"][0]["text"]
    assert "&lt;!channel&gt; @everyone &amp; &lt;b&gt;'x'&lt;/b&gt;" in text
    assert text.count("```") == 2
    assert body["attachments"][0]["color"] == "danger"


def test_discord_gets_no_mention_and_no_end_of_the_block() -> None:
    (body,) = written("discord", ODD["markup"])
    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    assert "@everyone" not in json.dumps(embed)
    assert embed["description"].count("```") == 2
    assert embed["color"] == 14495300
    (body,) = written("discord", ODD["many lines"])
    assert len(body["embeds"][0]["description"]) <= 4096
    assert body["embeds"][0]["description"].endswith("line 4999\n```")


def test_teams_gets_markdown_with_nothing_that_it_would_take_for_markup() -> None:
    (body,) = written("teams", message(replace(REPORT, detail="[a](https://x) *b*")))
    title = body["attachments"][0]["content"]["body"][0]
    assert title["text"] == r"backup failed: \[a\]\(https://x\) \*b\*"
    assert title["color"] == "attention"


def test_ntfy_gets_its_title_in_a_header() -> None:
    (request,) = named("ntfy").requests(message(replace(REPORT, detail="größer\n")))
    assert request.headers["Title"] == "=?utf-8?b?YmFja3VwIGZhaWxlZDogZ3LDtsOfZXJcbg==?="
    assert request.headers["Priority"] == "4"
    assert request.content_type == "text/plain; charset=utf-8"


def test_gotify_gets_a_number_as_its_priority() -> None:
    (body,) = written("gotify", message())
    assert body["priority"] == 8
    assert body["title"] == "backup failed: exit 3"


def test_pagerduty_resolves_with_the_key_that_it_was_triggered_with() -> None:
    recovered = replace(REPORT, kind=ReportKind.RECOVERED, seq=4712)
    failed, solved = written("pagerduty", message(REPORT, recovered))
    assert (failed["event_action"], solved["event_action"]) == ("trigger", "resolve")
    assert failed["dedup_key"] == solved["dedup_key"] == "taskman/web1.example.org/default/backup"
    assert failed["routing_key"] == "KEY"
    keys = [request.key for request in named("pagerduty").requests(message(REPORT, recovered))]
    assert keys == [f"{message(recovered).key}/4711", f"{message(recovered).key}/4712"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a template has either [body], a table"),
        ("text = 'a'\n[body]\n", "a template has either [body], a table"),
        ("text = 'a'\nbodi = 1", 'unknown key "bodi": a template has about, body'),
        ("text = '{nonsense}'", "{nonsense} is not a value: there are at, body"),
        ("body = ['x', { a = '{titel}' }, 5]", '{titel} is not a value (did you mean "title"?): there are'),
        ("text = 'a'\nescape = 'html'", "escape is one of none, slack, discord, markdown"),
        ("text = 'a'\nlimits = 1", "limits has to be a table: write [limits]"),
        ("text = 'a'\nheaders = 1", "headers has to be a table: write [headers]"),
        ("text = 'a'\n[limits]\ntitle = 'many'", 'limits: "title" has to be a number of bytes'),
        ("text = 'a'\n[limits]\ntitle = 0", 'limits: "title" has to be a number of bytes'),
        ("text = 'a'\n[levels.x]\nproblem = 1", 'levels: "x" needs a value for each of problem'),
        ("text = 'a'\n[levels]\nx = 1", 'levels: "x" needs a value for each of problem'),
        ("text = ", "Invalid value"),
        (f"text = {'9' * 5000}", "Exceeds the limit"),
        (f"text = {'[' * 5000}", "nested too deeply"),
        (f"body = {'[' * 390}{']' * 390}\ntext = ''", "a template has either [body], a table"),
    ],
)
def test_a_template_of_ones_own_that_is_wrong_says_why(text: str, expected: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert str(caught.value)[: len(expected)] == expected


def test_what_looks_like_a_place_in_a_value_is_left_alone() -> None:
    template = Template({"text": "{output}|{title}"})
    (request,) = template.requests(message(replace(REPORT, output=("{title}",), is_output_cut=False)))
    assert request.body == b"{title}|backup failed: exit 3"


def test_an_escape_is_never_cut_in_two() -> None:
    template = Template({"text": "{title}", "escape": "slack", "limits": {"title": 20}})
    (request,) = template.requests(message(replace(REPORT, job="a", detail="&" * 50)))
    assert request.body.decode() == "a failed: &amp;…"


def test_a_header_has_one_line_whatever_the_text() -> None:
    assert header_value("a\r\nb\udce9") == "a\\r\\nb\\xe9"
    assert header_value("é" * 300).isascii()
    assert "\n" not in header_value("é" * 300)
