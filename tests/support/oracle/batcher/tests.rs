use super::*;

const SEED: u64 = 4;

fn batcher(shared: &Shared) -> Batcher<'_> {
    let mut batcher = Batcher::new(shared, 7);
    batcher.open_new(LINES);
    batcher
}

fn shared() -> Shared {
    let nobody = ([127, 0, 0, 1], 1).into();
    Shared::new(SEED, nobody, nobody, u32::MAX)
}

fn messages(batcher: &Batcher<'_>, count: usize) -> Vec<Message> {
    let names = batcher.open[..count].iter().map(|line| line.name);
    names.map(|name| message(SEED, name)).collect()
}

fn stored(message: &Message, position: u64) -> Value {
    json!({"status": 202, "id": message.id, "position": position, "duplicate": false,
           "state": "stored"})
}

fn refused() -> Value {
    json!({"status": 503, "type": "urn:causeway:problem:backlog-full"})
}

fn whole(results: Vec<Value>) -> Exchange {
    Exchange {
        begun: results.len(),
        results,
        end: End::Whole,
    }
}

fn kinds(batcher: &Batcher<'_>) -> Vec<Kind> {
    batcher.out.violations.iter().map(|v| v.kind).collect()
}

#[test]
fn lines_without_a_receipt_stay_open_in_their_order() {
    let shared = shared();
    let mut batcher = batcher(&shared);
    let messages = messages(&batcher, 5);
    let names: Vec<Name> = batcher.open.iter().map(|line| line.name).collect();
    let cut = Exchange {
        begun: 4,
        results: vec![stored(&messages[0], 3), refused()],
        end: End::Broken,
    };
    batcher.judge(&cut, &messages, None);
    assert_eq!(kinds(&batcher), []);
    let open: Vec<Name> = batcher.open.iter().map(|line| line.name).collect();
    assert_eq!(open, names[1..]);
    let in_doubt: Vec<bool> = batcher.open.iter().map(|line| line.in_doubt).collect();
    assert_eq!(in_doubt[..5], [false, true, true, false, false]);
}

#[test]
fn each_wrong_result_is_seen() {
    let shared = shared();
    let kinds = |change: &dyn Fn(&mut Vec<Value>, &[Message])| {
        let mut batcher = batcher(&shared);
        let all = messages(&batcher, LINES);
        // Two of one key, at the head.
        let key = all.iter().find_map(|m| m.key.clone()).expect("soon");
        let mut other = all.iter().map(|m| m.key.as_ref() != Some(&key));
        batcher.open.retain(|_| !other.next().expect("one each"));
        let two = messages(&batcher, 2);
        let mut results = vec![stored(&two[0], 3), stored(&two[1], 4)];
        change(&mut results, &two);
        batcher.judge(&whole(results), &two, None);
        kinds(&batcher)
    };
    assert_eq!(kinds(&|_, _| {}), []);
    assert_eq!(kinds(&|r, _| r[1] = refused()), []);
    assert_eq!(kinds(&|r, _| r[0] = refused()), [Kind::OutOfOrder]);
    assert_eq!(
        kinds(&|r, two| r[1] = stored(&two[1], 3)),
        [Kind::Numbering]
    );
    assert_eq!(
        kinds(&|r, _| r[1]["duplicate"] = true.into()),
        [Kind::Identity]
    );
    assert_eq!(kinds(&|r, _| r[1]["id"] = "x".into()), [Kind::Answer]);
    assert_eq!(kinds(&|r, _| r[1]["status"] = 422.into()), [Kind::Answer]);
    assert_eq!(kinds(&|r, _| drop(r.pop())), [Kind::Answer]);
    assert_eq!(kinds(&|r, _| r.push(refused())), [Kind::Answer]);
}

#[test]
fn a_line_is_the_message() {
    let all = (0..50).map(|number| Name {
        publisher: 7,
        number,
    });
    for message in all.map(|name| message(SEED, name)) {
        for as_base64 in [false, true] {
            let text = line(&message, as_base64);
            assert_eq!(text.find('\n'), Some(text.len() - 1));
            let json: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(json["id"], message.id);
            assert_eq!(json["headers"].is_object(), message.poisoned);
            assert_ne!(json["data"].is_null(), json["data_base64"].is_null());
        }
    }
}
