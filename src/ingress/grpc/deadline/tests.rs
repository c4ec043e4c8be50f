use super::*;
use http_body_util::BodyExt;

#[test]
fn timeouts_are_read_as_the_specification_has_them() {
    let seconds = Duration::from_secs;
    for (text, expected) in [
        ("1H", seconds(3_600)),
        ("2M", seconds(120)),
        ("3S", seconds(3)),
        ("4m", Duration::from_millis(4)),
        ("5u", Duration::from_micros(5)),
        ("99999999n", Duration::from_nanos(99_999_999)),
        ("99999999H", seconds(99_999_999 * 3_600)),
        ("0S", Duration::ZERO),
    ] {
        assert_eq!(parse(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "S",
        "1",
        "1s",
        "1.5S",
        "-1S",
        "+1S",
        " 1S",
        "123456789S",
        "1SS",
        "1é",
        "١S",
    ] {
        assert_eq!(parse(text), None, "{text:?}");
    }
    let mut headers = HeaderMap::new();
    assert_eq!(of(&headers).expect("none given"), None);
    headers.insert(TIMEOUT, "soon".parse().expect("legal"));
    let status = of(&headers).expect_err("no time").status();
    assert_eq!(status.code(), Code::InvalidArgument);
}

fn endless() -> Body {
    let data = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x"));
    Body::from_stream(data)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_an_answer_that_always_goes_on() {
    let counters = Arc::new(Counters::default());
    let count = Count::begin(Arc::clone(&counters), Method::Subscribe);
    assert_eq!(counters.open()[Method::Subscribe as usize].1, 1);
    let deadline = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
    let mut body = Limited::new(endless(), Some(deadline), count);
    for _ in 0..3 {
        let frame = body.frame().await.expect("more").expect("no error");
        assert!(frame.is_data());
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    let last = body.frame().await.expect("trailers").expect("no error");
    let trailers = last.into_trailers().expect("the end");
    assert_eq!(trailers[STATUS], "4");
    assert!(body.frame().await.is_none());
    drop(body);
    assert_eq!(counters.open()[Method::Subscribe as usize].1, 0);
    let called = counters.called();
    assert_eq!((called.len(), called[0].code), (1, Code::DeadlineExceeded));
}

#[test]
fn an_answer_that_is_dropped_was_cancelled() {
    let counters = Arc::new(Counters::default());
    drop(Count::begin(Arc::clone(&counters), Method::Publish));
    let called = counters.called();
    assert_eq!(called.len(), 1);
    assert_eq!(called[0].method, Method::Publish);
    assert_eq!((called[0].code, called[0].count), (Code::Cancelled, 1));
}
