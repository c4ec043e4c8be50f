//! W3C trace context (Level 1, with the flags of Level 2): whose request a message belongs to, on its
//! way from a caller through the journal to a destination.
//!
//! What lives here: reading, bounding and writing it. What must not: spans, sampling, exporters.
//!
//! What isn't valid is ignored, as if it hadn't been sent: a trace is never a reason to refuse.

use super::wire::{Problem, Reader, WireError};
use bytes::Bytes;

/// The names of its two headers, in lower case.
pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// `00-<trace id>-<span id>-<flags>`.
pub const TRACEPARENT_BYTES: usize = 55;
/// More of a trace state is cut, by whole members.
pub const MAX_STATE_BYTES: usize = 512;
/// Members of a longer list aren't a trace state.
const MAX_MEMBERS: usize = 32;
/// Of a state that is too long, members longer than this go first.
const LONG_MEMBER_BYTES: usize = 128;
const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 256;

const SAMPLED: u8 = 1;
/// What is known of the flags; those of a later version are not passed on.
const KNOWN_FLAGS: u8 = 3;

/// What its caller sent with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub parent: TraceParent,
    /// As the header has it, at most `MAX_STATE_BYTES`; empty: none.
    state: Bytes,
}

/// One span of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Neither of them is all zeros.
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub flags: u8,
}

impl TraceContext {
    /// `parent` is the one `traceparent` header, `state` all the `tracestate` headers in their order.
    /// None if the parent isn't valid; a state that isn't is left out.
    #[must_use]
    pub fn read<'a>(parent: &[u8], state: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let parent = TraceParent::read(parent)?;
        let state = read_state(state).unwrap_or_default();
        Some(Self { parent, state })
    }

    /// The same as part of one of its spans.
    #[must_use]
    pub fn under(self, parent: TraceParent) -> Self {
        Self { parent, ..self }
    }

    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// As the journal keeps it: trace id, span id, flags, then the state to the end.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.parent.trace_id);
        out.extend_from_slice(&self.parent.span_id);
        out.push(self.parent.flags);
        out.extend_from_slice(&self.state);
    }

    /// Shares the record's bytes.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let mut parent = TraceParent {
            trace_id: [0; 16],
            span_id: [0; 8],
            flags: 0,
        };
        parent
            .trace_id
            .copy_from_slice(reader.take("trace id", 16)?);
        parent.span_id.copy_from_slice(reader.take("span id", 8)?);
        parent.flags = reader.u8("trace flags")?;
        if !parent.is_valid() || reader.rest().len() > MAX_STATE_BYTES {
            return Err(Reader::new(bytes).error("trace context", Problem::OutOfRange));
        }
        Ok(Self {
            parent,
            state: bytes.slice_ref(reader.rest()),
        })
    }
}

impl From<TraceParent> for TraceContext {
    fn from(parent: TraceParent) -> Self {
        Self {
            parent,
            state: Bytes::new(),
        }
    }
}

impl TraceParent {
    /// Of a later version what this one knows is read.
    fn read(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (fields, rest) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let version = hex::<1>(&fields[..2])?[0];
        let goes_on = matches!(
            (version, rest.first()),
            (0, None) | (1..=0xfe, None | Some(b'-'))
        );
        if !goes_on || [fields[2], fields[35], fields[52]] != [b'-'; 3] {
            return None;
        }
        let parent = Self {
            trace_id: hex(&fields[3..35])?,
            span_id: hex(&fields[36..52])?,
            flags: hex::<1>(&fields[53..])?[0] & KNOWN_FLAGS,
        };
        parent.is_valid().then_some(parent)
    }

    fn is_valid(&self) -> bool {
        self.trace_id != [0; 16] && self.span_id != [0; 8]
    }

    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As the header has it.
    #[must_use]
    pub fn text(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-................................-................-..";
        put_hex(&self.trace_id, &mut text[3..35]);
        put_hex(&self.span_id, &mut text[36..52]);
        put_hex(&[self.flags], &mut text[53..]);
        text
    }
}

/// Lower case only, as the standard has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn put_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The members of all headers as one; none if one of them isn't valid.
fn read_state<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Bytes> {
    let mut members: Vec<&[u8]> = Vec::new();
    let mut bytes = 0;
    for header in headers {
        for member in header.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            let key = key_of(member)?;
            let known = members.iter().any(|other| key_of(other) == Some(key));
            if known || members.len() == MAX_MEMBERS {
                return None;
            }
            bytes += member.len() + usize::from(!members.is_empty());
            members.push(member);
        }
    }
    while bytes > MAX_STATE_BYTES {
        let long = members.iter().rposition(|m| m.len() > LONG_MEMBER_BYTES);
        let gone = members.remove(long.unwrap_or(members.len() - 1));
        bytes -= gone.len() + usize::from(!members.is_empty());
    }
    Some(members.join(&b","[..]).into())
}

/// The key of a member, if it and its value are legal.
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let in_key = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let starts = key
        .first()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let tenants = key.iter().filter(|b| **b == b'@').count();
    let is_key = starts && key.iter().all(in_key) && tenants <= 1 && key.len() <= MAX_KEY_BYTES;
    let in_value = |b: &u8| matches!(b, b' '..=b'~' if *b != b',' && *b != b'=');
    let is_value =
        !value.is_empty() && value.len() <= MAX_VALUE_BYTES && value.iter().all(in_value);
    (is_key && is_value).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(parent: &str, states: &[&str]) -> Option<TraceContext> {
        let states = states.iter().map(|state| state.as_bytes());
        TraceContext::read(parent.as_bytes(), states)
    }

    fn state(states: &[&str]) -> String {
        let context = read(PARENT, states).expect("the parent is valid");
        String::from_utf8(context.state().to_vec()).expect("text")
    }

    #[test]
    fn a_valid_parent_is_passed_on_as_it_came() {
        for (text, sampled) in [
            (PARENT, true),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
                true,
            ),
        ] {
            let context = read(text, &[]).expect(text);
            assert_eq!(context.parent.text(), text.as_bytes());
            assert_eq!(context.parent.is_sampled(), sampled);
            assert_eq!(context.state(), b"");
        }
        // Of a later version what is known.
        let later = PARENT.replacen("00", "cc", 1);
        for text in [
            later.clone(),
            format!("{later}-what-the-future"),
            later.replace("-01", "-09"),
        ] {
            let context = read(&text, &[]).expect("its beginning is known");
            assert_eq!(context.parent.text(), PARENT.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_no_parent_is_ignored() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-1",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(read(text, &["a=1"]), None, "{text}");
        }
        for at in 0..TRACEPARENT_BYTES {
            let mut text = PARENT.as_bytes().to_vec();
            text[at] = b'G';
            assert_eq!(TraceContext::read(&text, []), None, "at {at}");
        }
    }

    #[test]
    fn states_are_joined_in_their_order_and_checked() {
        assert_eq!(
            state(&["rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"]),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
        );
        assert_eq!(
            state(&["a=1,,", "", "t@b=2", " 0-*/_=x y "]),
            "a=1,t@b=2,0-*/_=x y"
        );
        for wrong in [
            "a", "a=", "=1", "A=1", "a=1=2", "a=\u{e9}", "_a=1", "a@b@c=1", "a=1,a=2", "a =1",
        ] {
            assert_eq!(state(&["z=1", wrong]), "", "{wrong}");
        }
        let many: Vec<String> = (0..33).map(|n| format!("k{n}=1")).collect();
        assert_eq!(state(&[&many[..32].join(",")]).split(',').count(), 32);
        assert_eq!(state(&[&many.join(",")]), "");
    }

    #[test]
    fn a_long_state_loses_long_members_first_then_the_last() {
        let short = |n: usize| format!("short{n:02}={}", "s".repeat(90));
        let long = format!("long={}", "l".repeat(200));
        let five: Vec<String> = (0..5).map(short).collect();
        let with_long = [&five[..4], std::slice::from_ref(&long), &five[4..]].concat();
        assert_eq!(state(&[&with_long.join(",")]), five.join(","));
        let seven: Vec<String> = (0..7).map(short).collect();
        let kept = state(&[&seven.join(",")]);
        assert_eq!(kept, seven[..5].join(","));
        assert!(kept.len() <= MAX_STATE_BYTES);
        let whole = format!("a={}", "x".repeat(250));
        assert_eq!(
            state(&[&format!("{whole},b{whole}")]),
            format!("{whole},b{whole}")
        );
    }

    #[test]
    fn what_the_journal_keeps_is_read_again() {
        for states in [&[][..], &["a=1,b=2"]] {
            let context = read(PARENT, states).expect("valid");
            let mut out = Vec::new();
            context.encode(&mut out);
            assert_eq!(TraceContext::decode(&out.clone().into()), Ok(context));
            for cut in 0..25 {
                assert!(TraceContext::decode(&Bytes::copy_from_slice(&out[..cut])).is_err());
            }
        }
        assert!(TraceContext::decode(&vec![0; 25].into()).is_err());
        assert!(TraceContext::decode(&vec![1; 25 + 513].into()).is_err());
    }
}
