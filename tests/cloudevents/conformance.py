"""Events made by the SDK of CloudEvents for Python, sent and read back in each mode.

    conformance.py URL SEED

Each event is made by the SDK, written by it in binary or structured mode, or in a list of structured ones; then
read from the stream `inbox` in each mode, parsed by the SDK, and compared with what was made.
"""

import base64
import json
import random
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from urllib.parse import urlsplit

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

EVENTS = 300
LONGEST_LIST = 8
PAGE = 1000
BATCH = "application/cloudevents-batch+json"
ODD = ["é", "€", "😀", " ", '"', "%", "\\", "'", ",", ";", "~", "\u00a0", "a", "Z", "7"]


class Failed(Exception):
    pass


def ask(url, headers=None, body=None):
    request = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, {n.lower(): v for n, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as refused:
        raise Failed(f"{url}: {refused.code}: {refused.read()!r}") from refused


def text(rng, longest):
    return "".join(rng.choice(ODD) for _ in range(rng.randint(1, longest)))


def any_json(rng, depth=0):
    kind = rng.randrange(7 if depth < 3 else 5)
    if kind == 0:
        return rng.randint(-(2**60), 2**60)
    if kind == 1:
        return rng.random()
    if kind == 2:
        return rng.choice([True, False])
    if kind in (3, 4):
        return text(rng, 10)
    if kind == 5:
        return [any_json(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {text(rng, 5): any_json(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def some_data(rng):
    """A content type (or none) and data of it."""
    kind = rng.randrange(8)
    if kind == 0:
        return None, None
    if kind == 1:
        return None, {"of": any_json(rng)}
    if kind == 2:
        return "application/json", {"of": any_json(rng)}
    if kind == 3:
        return "application/vnd.x+json", {"of": any_json(rng)}
    if kind == 4:
        return "text/plain; charset=utf-8", text(rng, 60)
    if kind == 5:
        return "application/xml", f"<a>{text(rng, 10)}</a>"
    if kind == 6:
        return "image/png", b"\x89PNG\xff" + rng.randbytes(rng.randint(0, 99))
    return None, b"\xff" + rng.randbytes(9)


def some_event(rng, number):
    attributes = {
        "id": f"{number}-{text(rng, rng.choice([5, 200]))}",
        "source": rng.choice(["/a", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "https://h:8/p?q=%20#f", "x"]),
        "type": text(rng, 30),
        "time": datetime(2026, 1, 31, tzinfo=timezone.utc)
        + timedelta(microseconds=rng.randrange(10**12))
        if rng.random() < 0.7
        else datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
    }
    optional = {
        "subject": text(rng, 20),
        "dataschema": "https://example.com/schema?v=1",
        "partitionkey": text(rng, 20),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "number": rng.randint(-(2**31), 2**31 - 1),
        "truth": rng.choice([True, False]),
        "digits": str(rng.randint(0, 999)),
        "a" * 20: "the longest name that the specification advises",
        "0": text(rng, 40),
    }
    attributes.update({name: value for name, value in optional.items() if rng.random() < 0.5})
    content_type, data = some_data(rng)
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    return CloudEvent(attributes, data)


def as_bytes(data, content_type):
    """What the data are, whichever Python type the SDK holds them in."""
    if data is None:
        return None
    if isinstance(data, (bytes, bytearray)):
        data = bytes(data)
        if content_type is not None and "json" in content_type:
            return ("json", json.loads(data))
        return ("bytes", data)
    if isinstance(data, str) and (content_type is None or "json" not in content_type):
        return ("bytes", data.encode())
    return ("json", data)


def comparable(event, types_are_lost):
    attributes = dict(event.get_attributes())
    content_type = attributes.pop("datacontenttype", None)
    data = event.get_data()
    if types_are_lost:
        attributes = {
            name: value if isinstance(value, datetime) else header_text(value)
            for name, value in attributes.items()
        }
    return attributes, content_type, as_bytes(data, content_type)


def header_text(value):
    # The SDK writes Python's True where the specification says true; both are told apart from neither.
    return str(value).lower() if isinstance(value, bool) else str(value)


def expected(event, was_binary, types_are_lost):
    """What must come back: the format says that JSON data without a content type are application/json."""
    attributes, content_type, data = comparable(event, types_are_lost or was_binary)
    if was_binary:
        attributes = {
            name: "True" if value == "true" and isinstance(event.get_attributes()[name], bool)
            else "False" if value == "false" and isinstance(event.get_attributes()[name], bool)
            else value
            for name, value in attributes.items()
        }
    elif content_type is None and data is not None and data[0] == "json":
        content_type = "application/json"
    if was_binary and content_type is None and data is not None and data[0] == "json":
        # Bytes of which nobody says what they are.
        data = ("bytes", json.dumps(data[1]).encode())
    return attributes, content_type, data


def send_all(url, rng, events):
    """Whether each went in binary mode, in the order of the stream."""
    was_binary = []
    rest = list(events)
    while rest:
        mode = rng.choice(["binary", "structured", "list"])
        if mode == "list":
            length = rng.randint(1, LONGEST_LIST)
            some, rest = rest[:length], rest[length:]
            body = b"[" + b",\n".join(JSONFormat().write(event) for event in some) + b"]"
            _, _, answer = ask(f"{url}/v1/topics/events", {"Content-Type": BATCH}, body)
            results = [json.loads(line) for line in answer.splitlines()]
            if len(results) != len(some) or any(result["status"] not in (200, 202) for result in results):
                raise Failed(f"a list: {results}")
            was_binary += [False] * len(some)
            continue
        event, rest = rest[0], rest[1:]
        write = http.to_binary_event if mode == "binary" else http.to_structured_event
        message = write(event)
        headers = dict(message.headers)
        if mode == "binary" and "content-type" not in {name.lower() for name in headers}:
            # urllib would say that it is a form's.
            ask_without_type(url, headers, message.body)
        else:
            ask(f"{url}/v1/topics/events", headers, message.body)
        was_binary.append(mode == "binary")
    return was_binary


def ask_without_type(url, headers, body):
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("POST", "/v1/topics/events", body=body, headers=headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status not in (200, 202):
        raise Failed(f"{answer.status}: {said!r}: {headers}")
    connection.close()


def read_batch(url, count):
    found = []
    while len(found) < count:
        target = f"{url}/v1/streams/inbox?from={len(found)}&limit={PAGE}&wait=30s"
        _, headers, body = ask(target, {"Accept": BATCH})
        if not headers["content-type"].startswith(BATCH):
            raise Failed(f"not a batch: {headers}")
        page = json.loads(body)
        if not page:
            raise Failed(f"{len(found)} events of {count}")
        found += [JSONFormat().read(None, json.dumps(event)) for event in page]
        if int(headers["causeway-next"]) != len(found):
            raise Failed(f"next is {headers['causeway-next']} behind {len(found)}")
    return found


def read_sse(url, count):
    target = f"{url}/v1/streams/inbox?from=earliest&limit={count}&format=cloudevents"
    _, _, body = ask(target, {"Accept": "text/event-stream"})
    lines = body.decode().split("\n")
    data = [line[len("data: "):] for line in lines if line.startswith("data: ")]
    return [JSONFormat().read(None, each) for each in data]


def read_ones(url, count, query, accept, parse):
    found = []
    for offset in range(count):
        _, headers, body = ask(f"{url}/v1/streams/inbox/{offset}{query}", {"Accept": accept})
        found.append(parse(http.HTTPMessage(headers=headers, body=body)))
    return found


def compare(mode, made, was_binary, found, types_are_lost):
    if len(found) != len(made):
        raise Failed(f"{mode}: {len(found)} events, not {len(made)}")
    for event, binary, back in zip(made, was_binary, found):
        want = expected(event, binary, types_are_lost)
        got = comparable(back, types_are_lost)
        if types_are_lost:
            # Headers hold no types, and binary data come back as whatever the SDK takes them for.
            want = (lowered(event, want[0]), want[1], loose(want[2]))
            got = (lowered(event, got[0]), got[1], loose(got[2]))
        if want != got:
            raise Failed(f"{mode}: {'binary' if binary else 'structured'} in:\nmade {want}\ngot  {got}")


def lowered(event, attributes):
    """Truth as the specification writes it."""
    of_truth = {name for name, value in event.get_attributes().items() if isinstance(value, bool)}
    return {n: v.lower() if n in of_truth else v for n, v in attributes.items()}


def loose(data):
    if data is None:
        return None
    kind, value = data
    if kind == "json":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def main():
    url, seed = sys.argv[1], int(sys.argv[2])
    rng = random.Random(seed)
    made = [some_event(rng, number) for number in range(EVENTS)]
    was_binary = send_all(url, rng, made)
    compare("batch", made, was_binary, read_batch(url, EVENTS), False)
    compare("events", made, was_binary, read_sse(url, EVENTS), False)
    structured = read_ones(url, EVENTS, "", "application/cloudevents+json", http.from_http_event)
    compare("structured", made, was_binary, structured, False)
    binary = read_ones(url, EVENTS, "?format=cloudevents-binary", "*/*", http.from_http_event)
    compare("binary", made, was_binary, binary, True)
    print(f"{EVENTS} events agree in each mode, {sum(was_binary)} of them sent in binary mode")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
