//! A delivery as a request. Pure.

use super::WebhookFormat;
use super::sign::Signer;
use crate::clock::Wall;
use crate::cloudevents::{self, Event, Made, STRUCTURED};
use crate::egress::DeliveryNames;
use crate::egress::dial::{Body, Place};
use crate::message::{Delivery, Header, MessageId};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const PUBLISHER_ID: HeaderName = HeaderName::from_static("causeway-publisher-id");
const TOPIC: HeaderName = HeaderName::from_static("causeway-topic");
const KEY: HeaderName = HeaderName::from_static("causeway-key");
const TRACE: [&str; 2] = ["traceparent", "tracestate"];
const AGENT: &str = concat!("causeway/", env!("CARGO_PKG_VERSION"));
/// As CloudEvents have it in HTTP: visible ASCII but `"` and `%` stays.
const QUOTED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// What every request of one destination has.
pub struct Form {
    pub format: WebhookFormat,
    /// Names of headers that travel along, in small letters.
    pub headers: Vec<HeaderName>,
    pub signer: Signer,
    /// The gateway's name: the source of events that are made here.
    pub gateway: String,
}

impl Form {
    /// # Errors
    /// Why this message can't be an HTTP request: it never will be.
    pub fn request(
        &self,
        place: &Place,
        delivery: &Delivery,
        names: &DeliveryNames,
        now: Wall,
    ) -> Result<Request<Body>, String> {
        let id = names.borrowed().delivery_id;
        let mut headers = HeaderMap::new();
        let body = self.content(delivery, id, &mut headers)?;
        self.travelling(delivery, &mut headers)?;
        if let MessageId::Publisher(id) = &delivery.message.envelope.id {
            headers.insert(PUBLISHER_ID, quoted(id.as_bytes())?);
        }
        let seconds = now.0 / 1000;
        headers.insert(WEBHOOK_ID, value(WEBHOOK_ID.as_str(), id.as_bytes())?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
        if let Some(signature) = self.signer.sign(id, seconds, &body) {
            let signature = value(WEBHOOK_SIGNATURE.as_str(), signature.as_bytes())?;
            headers.insert(WEBHOOK_SIGNATURE, signature);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(HOST, value("host", place.authority.as_bytes())?);
        if let Some(authorization) = &place.authorization {
            let mut authorization = value("authorization", authorization.as_bytes())?;
            authorization.set_sensitive(true);
            headers.insert(AUTHORIZATION, authorization);
        }
        let mut request = Request::post(place.target.as_str())
            .body(Body::new(body))
            .map_err(|e| e.to_string())?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The body, and the headers that say what it is.
    fn content(
        &self,
        delivery: &Delivery,
        id: &str,
        headers: &mut HeaderMap,
    ) -> Result<Bytes, String> {
        let payload = || payload(delivery).cloned().unwrap_or_default();
        match self.format {
            WebhookFormat::Raw => {
                if let Some(content_type) = delivery.content_type() {
                    headers.insert(
                        CONTENT_TYPE,
                        value("content-type", content_type.as_bytes())?,
                    );
                }
                headers.insert(TOPIC, quoted(topic(delivery).as_bytes())?);
                if let Some(key) = delivery.key() {
                    headers.insert(KEY, quoted(key)?);
                }
                Ok(payload())
            }
            WebhookFormat::Binary => {
                let event = self.event(delivery, id);
                for (name, text) in event.quoted_headers() {
                    let value = value(&name, text.as_bytes())?;
                    let name = HeaderName::try_from(name).map_err(|e| e.to_string())?;
                    headers.insert(name, value);
                }
                if let Some(content_type) = event.content_type() {
                    headers.insert(
                        CONTENT_TYPE,
                        value("content-type", content_type.as_bytes())?,
                    );
                }
                Ok(payload())
            }
            WebhookFormat::Structured => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
                let mut body = Vec::new();
                self.event(delivery, id).write(&mut body);
                Ok(body.into())
            }
        }
    }

    fn event(&self, delivery: &Delivery, id: &str) -> Event {
        let mut headers = Vec::new();
        delivery.headers().each(|name, value| {
            headers.push(Header {
                name: name.to_owned(),
                value: Bytes::copy_from_slice(value),
            });
        });
        cloudevents::of_record(&Made {
            id,
            gateway: &self.gateway,
            topic: topic(delivery),
            time: delivery.accepted,
            key: delivery.key().map(|key| &key[..]),
            headers: &headers,
            content_type: delivery.content_type(),
            payload: payload(delivery),
        })
    }

    /// Those of the message's headers that are on the list, and its trace context.
    fn travelling(&self, delivery: &Delivery, headers: &mut HeaderMap) -> Result<(), String> {
        let mut problem = None;
        delivery.headers().each(|name, bytes| {
            let listed = self
                .headers
                .iter()
                .find(|listed| name.eq_ignore_ascii_case(listed.as_str()));
            if let Some(listed) = listed {
                match value(name, bytes) {
                    Ok(value) => drop(headers.append(listed, value)),
                    Err(why) => problem = Some(why),
                }
            } else if let Some(name) = TRACE.iter().find(|t| name.eq_ignore_ascii_case(t))
                && let Ok(value) = value(name, bytes)
            {
                headers.append(HeaderName::from_static(name), value);
            }
        });
        problem.map_or(Ok(()), Err)
    }
}

fn topic(delivery: &Delivery) -> &str {
    let own = delivery.target().topic.as_ref();
    own.unwrap_or(&delivery.message.envelope.topic)
}

fn payload(delivery: &Delivery) -> Option<&Bytes> {
    let received = || delivery.message.envelope.payload.as_ref().ok();
    delivery.target().payload.as_ref().or_else(received)
}

/// Of a header, as it is. Blanks around it would be lost on the way, and the message changed.
fn value(name: &str, bytes: &[u8]) -> Result<HeaderValue, String> {
    let has_blanks = bytes.trim_ascii() != bytes;
    match HeaderValue::from_bytes(bytes) {
        Ok(value) if !has_blanks => Ok(value),
        _ => Err(format!(
            "the value of its header {name:?} can't stand in an HTTP request"
        )),
    }
}

/// Anything, percent-encoded.
fn quoted(bytes: &[u8]) -> Result<HeaderValue, String> {
    let text = percent_encode(bytes, QUOTED).to_string();
    HeaderValue::from_str(&text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
