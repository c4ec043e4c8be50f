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
    """One of two headers that don't go together; no body is coded, and none is said to be; no long wait."""
    headers = case.headers
    if headers and "Causeway-Delay" in headers:
        headers.pop("Causeway-Deliver-At", None)
    if headers and re.search("gzip|zstd", headers.get("Content-Encoding", "")):
        headers["Content-Encoding"] = "identity"
    wait = wait_ms(case)
    if wait is not None and LONGEST_WAIT_MS < wait <= 60_000:
        case.query["wait"] = f"{LONGEST_WAIT_MS}ms"
    if headers and "Last-Event-ID" in headers:
        as_events(case)
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


@schemathesis.serializer("application/x-ndjson")
def serialize(context, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.check
def each_line_has_its_result(ctx, response, case):
    """In order, as schema BatchResult says."""
    if case.operation.label != "POST /v1/batch" or response.status_code != 200:
        return
    results = [json.loads(line) for line in response.content.splitlines()]
    for result in results:
        BATCH_RESULT.validate(result)
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
