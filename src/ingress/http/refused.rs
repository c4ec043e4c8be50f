//! What the listener refuses, as problems.

use super::kind::Kind;
use super::problem::Problem;
use crate::ingress::listener::{Foreign, NotForUs, Refused};
use axum::http::StatusCode;

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Connections { limit } => {
                too_many(format!("all {limit} connections are taken"))
            }
            Refused::Requests { limit } => too_many(format!(
                "as many requests are under way as there may be connections: {limit}"
            )),
            Refused::HeaderLines { actual, limit } => Self::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Kind::HeadTooLarge,
                "Too many headers",
                format!("the request has {actual} headers, {limit} may be"),
            )
            .with("actual", actual)
            .with("limit", limit),
        }
    }
}

fn too_many(detail: String) -> Problem {
    Problem::unavailable(Kind::Connections, detail, 1).with("setting", "limits.connections")
}

impl From<NotForUs> for Problem {
    fn from(why: NotForUs) -> Self {
        match why {
            NotForUs::HostTwice => Self::bad_header("host", "it stands there more than once"),
            NotForUs::HostMissing => Self::bad_header("host", "it is missing"),
            NotForUs::Foreign(Foreign::Host) => Self::new(
                StatusCode::FORBIDDEN,
                Kind::ForeignHost,
                "Not for this listener",
                "this listener serves this machine only: ask for localhost or a loopback address",
            ),
            NotForUs::Foreign(Foreign::Origin | Foreign::Site) => Self::new(
                StatusCode::FORBIDDEN,
                Kind::ForeignOrigin,
                "Not from there",
                "this listener serves this machine only, and no page of another site",
            ),
        }
    }
}
