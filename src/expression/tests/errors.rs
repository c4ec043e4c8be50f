//! The exact words.

use super::*;

fn words(source: &str, envelope: &Envelope) -> String {
    json(source, envelope).expect_err(source).to_string()
}

#[test]
fn what_is_missing_is_named_with_the_spelling_that_would_work() {
    let envelope = envelope(
        r#"{"customer": {"name": "hunter2"}, "n": 1, "none": null, "twice": 1, "twice": 2}"#,
    );
    for (source, expected) in [
        (
            "payload.customer.id",
            "the payload has no `customer.id`; where it may be missing, ask first: `has(payload.customer.id) && …`",
        ),
        (
            "payload.order.id",
            "the payload has no `order`; where it may be missing, ask first: `has(payload.order) && …`",
        ),
        (
            "payload['the id']",
            "there is no `payload['the id']`; where it may be missing, ask first: `'the id' in payload && …`",
        ),
        (
            "payload.customer.name.first",
            "the payload has no `customer.name.first`: `payload.customer.name` is text",
        ),
        (
            "payload.none.id",
            "the payload has no `none.id`: `payload.none` is null",
        ),
        (
            "[payload.customer].map(c, c.id)",
            "there is no `c.id`; where it may be missing, ask first: `has(c.id) && …`",
        ),
        (
            "headers['urgent'] == '1'",
            "the message has no header `urgent`; where it may be missing, ask first: `'urgent' in headers && …`",
        ),
        (
            "headers['x' + 'y']",
            "an object has no such key; where it may be missing, ask first: `KEY in OBJECT && …`",
        ),
        (
            "payload.twice",
            "`payload.twice` stands twice in the payload",
        ),
        (
            "payload.n[0]",
            "`payload.n` must be a list or an object, of which `[…]` takes a part, and is a whole number (int)",
        ),
        (
            "payload.customer.name + payload.n",
            "`+` can't stand between text and a whole number (int); write `string(…)` around the number",
        ),
        (
            "payload.n * 1.5",
            "`*` can't stand between a whole number (int) and a number with a fraction (double); write `double(…)` or `int(…)` around one of them",
        ),
        (
            "payload.n > 'a'",
            "`>` can't stand between a whole number (int) and text",
        ),
        (
            "payload.n && true",
            "`payload.n`, as a condition, must be true or false, and is a whole number (int)",
        ),
        (
            "payload.n ? 1 : 2",
            "`payload.n`, before `?`, must be true or false, and is a whole number (int)",
        ),
        (
            "payload.n.all(x, true)",
            "`payload.n`, before `.all`, must be a list or an object, and is a whole number (int)",
        ),
        (
            "[1, 2][2]",
            "the index is outside the list, which has 2 entries (the first is 0)",
        ),
        (
            "9223372036854775807 + payload.n",
            "`+` gives a whole number beyond 64 bits; `double(…)` has room for it",
        ),
        ("payload.n / 0", "a whole number is divided by zero"),
        (
            "int(payload.customer.name)",
            "`payload.customer.name`, given to `int`, is text, of which not every value has a form as a whole number (int): this has none",
        ),
        (
            "payload.n.contains('1')",
            "`payload.n`, given to `contains`, must be text, and is a whole number (int)",
        ),
        (
            "payload.none.size()",
            "`payload.none`, given to `size`, is null, and a value is needed",
        ),
        (
            "['a', payload.n].join()",
            "an entry of what the expression gives, given to `join`, must be text, and is a whole number (int)",
        ),
        (
            "'abc'.substring(4)",
            "a place is outside the text, which has 3 characters (the first is 0)",
        ),
        ("b'\\xff'", "JSON has no form for bytes that aren't text"),
        (
            "payload",
            "JSON has no form for an object in which a name stands twice",
        ),
    ] {
        let said = words(source, &envelope);
        assert_eq!(said, expected, "{source}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_payload_that_cannot_be_read_says_where() {
    let said = |payload: &str| words("payload.a", &envelope(payload));
    assert_eq!(
        said("{\"a\": 1,\n  hunter2}"),
        "the payload is not JSON that can be read (line 2, column 3)"
    );
    assert_eq!(said(""), "the payload is empty, and no JSON");
    assert_eq!(
        words("payload.a", &without_payload()),
        "the message has no payload"
    );
    assert_eq!(
        said(&format!("{}{}", "[".repeat(200), "]".repeat(200))),
        "the payload is nested deeper than 127 levels"
    );
}

#[test]
fn a_place_says_what_it_needs() {
    let envelope = envelope(r#"{"n": 1, "none": null, "list": []}"#);
    let scope = Scope::new(&envelope);
    let when = |source: &str| {
        program(source)
            .is_true(&scope)
            .expect_err(source)
            .to_string()
    };
    assert_eq!(
        when("payload.n"),
        "`payload.n` must be true or false, and is a whole number (int)"
    );
    assert_eq!(
        when("payload.none"),
        "`payload.none` is null, and a value is needed"
    );
    let text = |text: &str| {
        let template = Template::parse(text, &[]).expect("a template");
        template.text(&scope).expect_err(text).to_string()
    };
    assert_eq!(
        text("a-${payload.list}"),
        "`payload.list` must be text, a number, true or false, and is a list"
    );
    assert_eq!(
        text("${client_id}"),
        "`client_id` is null, and a value is needed"
    );
    assert_eq!(
        text("${headers['raw']}"),
        "`headers.raw` is not text: its bytes aren't UTF-8"
    );
}

/// What is marked, the message and the help.
fn marked(source: &str) -> (String, String, String) {
    let error = refused(source);
    let marked = source
        .get(error.range.clone())
        .unwrap_or_else(|| panic!("{source}: {error:?}"));
    (
        marked.to_owned(),
        error.message,
        error.help.unwrap_or_default(),
    )
}

#[test]
fn a_mistake_is_marked_with_what_to_write_instead() {
    for (source, range, message, help) in [
        (
            "headers.x-id == 'a'",
            "headers.x-id",
            "`headers.x-id` is a subtraction",
            "write headers['x-id']",
        ),
        (
            "1 == 1 && headers.X-Request-Id == 'a'",
            "headers.X-Request-Id",
            "",
            "",
        ),
        (
            "payload.order-id == 1",
            "payload.order-id",
            "`payload.order-id` is a subtraction",
            "write payload['order-id']",
        ),
        (
            "payload.a.order-line-id == 1",
            "payload.a.order-line-id",
            "`payload.a.order-line-id` is a subtraction",
            "write payload.a['order-line-id']",
        ),
        (
            "headers['X-Id']",
            "'X-Id'",
            "the names in `headers` are lower-case",
            "write headers['x-id']",
        ),
        (
            "headers.Type == 'a'",
            "headers.Type",
            "the names in `headers` are lower-case",
            "write headers['type']",
        ),
        (
            "'Urgent' in headers",
            "'Urgent'",
            "the names in `headers` are lower-case",
            "write headers['urgent']",
        ),
        (
            "payload.a = 1",
            "=",
            "`=` alone has no meaning in an expression",
            "write `==` to compare",
        ),
        (
            "a & b",
            "&",
            "`&` alone has no meaning in an expression",
            "write `&&` for “and”",
        ),
        (
            "a | b",
            "|",
            "`|` alone has no meaning in an expression",
            "write `||` for “or”",
        ),
        (
            "${payload.a}",
            "$",
            "`$` has no meaning inside an expression",
            "this is an expression already: write it without `${` and `}`",
        ),
        (
            "payload.a == 'b",
            "'",
            "a text begins here and is not closed",
            "close it with the quote that it began with",
        ),
        (
            "'a\\d'",
            "\\d",
            "this escape has no meaning in a text",
            "write `\\\\` for a backslash",
        ),
        (
            "payload.größe",
            "ö",
            "`ö` has no meaning outside of text",
            "text stands in quotes, and so do names that aren't plain: payload['…']",
        ),
        ("(payload.a", "(", "`(` is not closed", ""),
        ("payload.a)", ")", "`)` closes nothing", ""),
        ("(payload.a]", "]", "`]` closes nothing", ""),
        (
            "",
            "",
            "there is no expression",
            "write one, like payload.total > 100",
        ),
        (
            "  ",
            "  ",
            "there is no expression",
            "write one, like payload.total > 100",
        ),
        (
            "payload.a ==",
            "",
            "the expression ends too early",
            "something is missing behind it",
        ),
        (
            "payload.a payload.b",
            "payload",
            "`payload` is not expected here",
            "an operator, a comma or a quote may be missing before it",
        ),
        (
            "payload.a == == 1",
            "==",
            "`==` is not expected here",
            "an operator, a comma or a quote may be missing before it",
        ),
        (
            "payload.for.a == 1 && for",
            "for",
            "`for` is a word of the language, no name",
            "a field can be read as ['for']",
        ),
        (
            "has(payload['a'])",
            "[",
            "`has` asks for one field behind a dot",
            "write has(payload.a.b); for names that aren't plain write 'x-id' in headers, 'a b' in payload",
        ),
        (
            "payload.all(a.b, true)",
            "",
            "a loop's variable must be a plain name",
            "write it like payload.items.all(item, item.price > 0)",
        ),
        (
            "99999999999999999999",
            "99999999999999999999",
            "the number doesn't fit into 64 bits",
            "write it with a fraction (1.0e30), or as text",
        ),
        (
            "type == 'pdf'",
            "type == 'pdf'",
            "`type` is a type, which this can't be",
            "a header is written headers['type'], a field payload.type",
        ),
        (
            "Foo{a: 1}",
            "{",
            "`Foo{…}`: messages are not built in",
            "write an object: {'name': value}",
        ),
        (
            "payload.?a",
            "",
            "optional values (`.?`, `[?`) are not built in",
            "ask first: has(payload.a) && …",
        ),
    ] {
        let (marked, said, helps) = marked(source);
        if !message.is_empty() {
            assert_eq!((said.as_str(), helps.as_str()), (message, help), "{source}");
        }
        if !range.is_empty() {
            assert_eq!(marked, range, "{source}: {said}");
        }
    }
}

#[test]
fn the_nearest_known_name_is_offered() {
    let all =
        "shop, topic, levels, key, headers, payload, content_type, source, principal, client_id";
    for (source, range, message, help) in [
        (
            "1 + shoop == 2",
            "shoop",
            "`shoop` is not known",
            format!("`shop` is meant? There are: {all}"),
        ),
        (
            "payloads.a",
            "payloads",
            "`payloads` is not known",
            format!("`payload` is meant? There are: {all}"),
        ),
        (
            "type_of_it == urgent",
            "type_of_it",
            "`type_of_it` is not known",
            format!("there are: {all}; text stands in quotes: 'type_of_it'"),
        ),
        (
            "[1].all(item, itm > 0)",
            "itm",
            "`itm` is not known",
            format!("`item` is meant? There are: item, {all}"),
        ),
    ] {
        assert_eq!(
            marked(source),
            (range.into(), message.into(), help),
            "{source}"
        );
    }
    for (source, range, message, help) in [
        (
            "payload.a.startswith('b')",
            "startswith",
            "there is no function `startswith`",
            "`startsWith` is meant? There are: size, ",
        ),
        (
            "length(payload.a)",
            "length",
            "there is no function `length`",
            "there are: size, ",
        ),
        (
            "payload.a.matches('b')",
            "matches",
            "`matches`: regular expressions are not built in",
            "use startsWith, endsWith, contains or split",
        ),
        (
            "timestamp(payload.a) > 1",
            "timestamp",
            "`timestamp` is not built in",
            "times can be compared as text",
        ),
        (
            "payload.all(true)",
            "all",
            "`all` is not written like this",
            "write list.all(x, condition)",
        ),
        (
            "contains(payload.a, 'b')",
            "contains",
            "`contains` is not written like this",
            "write it like x.contains('part')",
        ),
        (
            "payload.a.int()",
            "int",
            "`int` is not written like this",
            "write it like int(x)",
        ),
        (
            "size(1, 2)",
            "size",
            "`size` is not written like this",
            "write it like size(x)",
        ),
    ] {
        let (marked, said, helps) = marked(source);
        assert_eq!(
            (marked.as_str(), said.as_str()),
            (range, message),
            "{source}"
        );
        assert!(helps.starts_with(help), "{source}: {helps}");
    }
}

#[test]
fn a_level_named_like_a_variable_is_refused_where_it_is_used() {
    let error = Program::compile("key == 'a'", &["key"]).expect_err("ambiguous");
    assert_eq!(error.range, 0..3);
    assert!(is_reserved("key") && is_reserved("int") && is_reserved("in") && !is_reserved("shop"));
}

#[test]
fn what_would_cost_too_much_is_refused_at_load() {
    let cube = refused("payload.all(a, payload.all(b, payload.all(c, a == b)))");
    assert_eq!(cube.message, "more than 2 loops stand inside each other");
    assert!(
        Program::compile(
            "payload.all(a, payload.all(b, a == b)) && payload.all(c, true)",
            &[]
        )
        .is_ok()
    );
    let long = format!("'{}'", "x".repeat(MAX_SOURCE_BYTES));
    assert_eq!(
        refused(&long).message,
        "the expression is 4098 bytes, more than 4096"
    );
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(
        refused(&deep).message,
        "the expression is deeper than 64 brackets and operators"
    );
}
