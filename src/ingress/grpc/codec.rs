//! Requests come as the bytes of one message, so that what is in them is looked at piece by piece, within
//! limits, instead of being taken apart all at once: a few bytes on the wire can be a large value in
//! memory.

use super::fault::Fault;
use super::v1;
use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// `PublishRequest.message`, `PublishBatchRequest.messages`.
const MESSAGES: u32 = 1;
/// `Message.key`.
const KEY: u32 = 3;
/// `Message.headers`.
const HEADERS: u32 = 4;

/// Answers are of the type `A`.
pub(super) struct Raw<A>(PhantomData<A>);

impl<A> Default for Raw<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A: Message + 'static> Codec for Raw<A> {
    type Encode = A;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Take;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Take {
        Take
    }
}

impl<A: Message> Encoder for Raw<A> {
    type Item = A;
    type Error = Status;

    fn encode(&mut self, item: A, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(to).expect("the buffer grows");
        Ok(())
    }
}

pub(super) struct Take;

impl Decoder for Take {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A request without messages of publishers in it.
pub(super) fn read<M: Message + Default>(bytes: Bytes) -> Result<M, Fault> {
    M::decode(bytes).map_err(|error| unreadable(&error))
}

/// A publisher's message, with no more headers than it may have.
pub(super) fn read_message(bytes: Bytes, max_headers: usize) -> Result<v1::Message, Fault> {
    let mut fields = Fields(bytes.clone());
    let mut headers = 0;
    while let Some(field) = fields.next()? {
        headers += usize::from(field.tag == HEADERS);
    }
    if headers > max_headers {
        return Err(crate::message::Refusal::TooMany {
            what: "headers",
            actual: headers,
            limit: max_headers,
            setting: "limits.headers",
        }
        .into());
    }
    read(bytes)
}

/// The only message of a request. Were it there twice the last counts.
pub(super) fn only_message(request: Bytes) -> Result<Bytes, Fault> {
    let mut messages = messages(request);
    let mut last = None;
    while let Some(message) = messages.next_message()? {
        last = Some(message);
    }
    last.ok_or_else(|| Fault::malformed("message", "it is missing"))
}

/// A message's key, if it has one that can be read.
pub(super) fn key(message: &Bytes) -> Option<Bytes> {
    let mut fields = Fields(message.clone());
    let mut key = None;
    while let Ok(Some(field)) = fields.next() {
        if field.tag == KEY {
            key = field.bytes;
        }
    }
    key.filter(|key| !key.is_empty())
}

/// The messages of a request, one after the other.
pub(super) fn messages(request: Bytes) -> Messages {
    Messages(Fields(request))
}

pub(super) struct Messages(Fields);

impl Messages {
    /// After an error there is no more to be read.
    pub(super) fn next_message(&mut self) -> Result<Option<Bytes>, Fault> {
        while let Some(field) = self.0.next()? {
            if let (MESSAGES, Some(bytes)) = (field.tag, field.bytes) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// A field of a message.
struct Field {
    tag: u32,
    /// Of one that has a length.
    bytes: Option<Bytes>,
}

/// The fields of a message as they stand on the wire.
struct Fields(Bytes);

impl Fields {
    fn next(&mut self) -> Result<Option<Field>, Fault> {
        if !self.0.has_remaining() {
            return Ok(None);
        }
        self.take().map(Some).map_err(|error| unreadable(&error))
    }

    fn take(&mut self) -> Result<Field, prost::DecodeError> {
        let (tag, wire_type) = decode_key(&mut self.0)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut self.0, DecodeContext::default())?;
            return Ok(Field { tag, bytes: None });
        }
        let mut rest = self.0.clone();
        let length = decode_varint(&mut rest)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > rest.remaining() {
            // In prost's own words.
            skip_field(wire_type, tag, &mut self.0, DecodeContext::default())?;
        }
        let bytes = rest.split_to(length.min(rest.len()));
        self.0 = rest;
        Ok(Field {
            tag,
            bytes: Some(bytes),
        })
    }
}

fn unreadable(error: &prost::DecodeError) -> Fault {
    Fault::unreadable(format!("the message isn't valid protobuf: {error}"))
}
