"""What openapi.json can't say of requests, and what stands in the lines of an answer; for schemathesis."""

import json
import pathlib
import re

import jsonschema_rs
import schemathesis
from hypothesis import strategies as st

DESCRIPTION = json.loads(pathlib.Path("openapi.json").read_text())
LONGEST_WAIT_MS = 5
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def described(name):
    """The validator of one of the description's schemas."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DESCRIPTION["components"]}
    return jsonschema_rs.validator_for(schema)


BATCH_RESULT = described("BatchResult")
STREAM_RECORD = described("StreamRecord")
CLOUD_EVENT = described("CloudEvent")


@schemathesis.hook
def map_case(context, case):
    """What doesn't go together is parted, without mending what is to be refused."""
    headers = case.headers or {}
    if (case.media_type or "").startswith("application/cloudevents"):
        # An event's id is made of its own.
        headers.pop("Idempotency-Key", None)
    if "Causeway-Delay" in headers and "Causeway-Deliver-At" in headers:
        is_duration = re.fullmatch(r"\d{1,9}(ms|s|m|h|d)", headers["Causeway-Delay"], re.ASCII)
        headers.pop("Causeway-Delay" if is_duration else "Causeway-Deliver-At")
    codings = [name.strip(" \t") for name in headers.get("Content-Encoding", "").split(",")]
    real = [name for name in codings if name not in ("", "identity")]
    if len(real) == 1 and real[0] in ("gzip", "x-gzip", "zstd"):
        # No body is coded here.
        headers["Content-Encoding"] = "identity"
    wait = wait_ms(case)
    if wait is not None and LONGEST_WAIT_MS < wait <= 60_000:
        case.query["wait"] = f"{LONGEST_WAIT_MS}ms"
    if "Last-Event-ID" in headers:
        as_events(case)
    if (case.query or {}).get("format") == "cloudevents-binary":
        # Its body and content type are what somebody published.
        case.query["format"] = "cloudevents"
    return case


def wait_ms(case):
    wait = re.fullmatch(r"(\d+)(ms|s|m|h|d)", str((case.query or {}).get("wait")), re.ASCII)
    return int(wait[1]) * UNITS_MS[wait[2]] if wait else None


def as_events(case):
    """The header is for events only. One event: a second record of the stream is there."""
    limit = str(case.query.get("limit", 1))
    if re.fullmatch(r"\d+", limit, re.ASCII) and int(limit) > 1_000:
        # Of a page that is too many, of events it isn't.
        del case.headers["Last-Event-ID"]
        return
    case.headers["Accept"] = "text/event-stream"
    if re.fullmatch(r"\d{1,19}", case.headers["Last-Event-ID"], re.ASCII):
        case.headers["Last-Event-ID"] = "0"
    if re.fullmatch(r"\d+", limit, re.ASCII) and int(limit) > 0:
        case.query["limit"] = 1
    if wait_ms(case) is not None:
        del case.query["wait"]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """A header that nobody knows is no error in HTTP. An event in binary mode has any content, and no type if none was said."""
    is_binary = (case.query or {}).get("format") == "cloudevents-binary"
    if is_binary and response is not None and response.status_code == 200:
        return False
    return "unexpected properties" not in failure.message or "in header" not in failure.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
lines = st.fixed_dictionaries(
    {"topic": st.text(min_size=1) | st.just("orders/new")},
    optional={
        "id": st.none() | st.text(max_size=300) | st.sampled_from("abc"),
        "key": st.none() | st.text() | st.sampled_from("kl"),
        "key_base64": st.just("/w==") | st.text(),
        "headers": st.dictionaries(st.text(), st.text() | st.just({"base64": "gA=="}) | json_values, max_size=3),
        "content_type": st.none() | st.text() | st.just("text/plain"),
        "data": json_values,
        "data_base64": st.none() | st.just("") | st.text(),
        "wrong": json_values,
    },
)
encoded = lines.map(json.dumps) | json_values.map(json.dumps) | st.text().map(lambda text: text.replace("\n", ""))
batches = st.lists(encoded.map(str.encode) | st.binary(max_size=20), max_size=20).map(b"\n".join)
schemathesis.openapi.media_type("application/x-ndjson", batches)


# Attributes have rules that a schema can't say in few words; data have none.
words = st.text("abcXYZ019-./", min_size=1, max_size=20)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
events = st.fixed_dictionaries(
    {"specversion": st.just("1.0"), "id": words, "source": words, "type": words},
    optional={
        "time": st.just("2026-01-31T12:00:00.5+01:00"),
        "subject": words,
        "partitionkey": words,
        "extension1": words | st.booleans() | st.integers(-(2**31), 2**31 - 1),
        "data": data,
    },
)
schemathesis.openapi.media_type("application/cloudevents+json", events)
schemathesis.openapi.media_type("application/cloudevents-batch+json", st.lists(events, max_size=5))


@schemathesis.serializer("application/x-ndjson")
def serialize(context, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.check
def each_line_has_its_result(ctx, response, case):
    """In order, as schema BatchResult says."""
    if response.headers.get("content-type", [""])[0] != "application/x-ndjson":
        return
    results = [json.loads(line) for line in response.content.splitlines()]
    for result in results:
        BATCH_RESULT.validate(result)
    if case.operation.label != "POST /v1/batch":
        return
    sent = case.body if isinstance(case.body, bytes) else b""
    full = [line for line in sent.split(b"\n") if line.strip(b" \t\r\f")]
    assert len(results) == len(full), f"{len(full)} lines, {len(results)} results"


@schemathesis.check
def each_event_is_a_record(ctx, response, case):
    """What `contentSchema` says of an event's data, which nobody else looks at."""
    if "text/event-stream" in response.headers.get("content-type", [""])[0]:
        is_cloud_event = (case.query or {}).get("format") == "cloudevents"
        record = CLOUD_EVENT if is_cloud_event else STREAM_RECORD
        for line in response.content.splitlines():
            if line.startswith(b"data: "):
                record.validate(json.loads(line.removeprefix(b"data: ")))
