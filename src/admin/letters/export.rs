//! Letters as lines that `POST /v1/batch` takes, as many as there are: page after page, as the
//! connection takes them.

use super::{Filter, Hide, Page, PageWanted, Show};
use crate::admin::Control;
use crate::ingress::http::Problem;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use std::io;

/// Of a page in memory.
const PAGE_LETTERS: usize = 1000;
const PAGE_BYTES: usize = 1 << 20;

struct Export {
    control: Control,
    name: String,
    filter: Filter,
    is_redacted: bool,
    /// Read, and not yet sent.
    page: Option<Page>,
}

/// The first page is read before the answer begins: what is wrong is said with a status.
pub(super) async fn start(
    control: Control,
    name: String,
    filter: Filter,
    is_redacted: bool,
) -> Result<Response, Problem> {
    let mut export = Export {
        control,
        name,
        filter,
        is_redacted,
        page: None,
    };
    export.page = Some(export.read().await?);
    let body = Body::from_stream(unfold(export, Export::next));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

impl Export {
    async fn read(&self) -> Result<Page, Problem> {
        let wanted = PageWanted {
            filter: self.filter.clone(),
            limit: PAGE_LETTERS,
            max_bytes: PAGE_BYTES,
        };
        let page = self.control.letters(self.name.clone(), wanted).await;
        Ok(page??)
    }

    /// An answer that breaks off is seen by the client: it has no end.
    async fn next(mut self) -> Option<(Result<Bytes, io::Error>, Self)> {
        let page = self.page.take()?;
        let lines = self.lines(&page);
        if let Some(next) = page.next {
            self.filter.from = Some(next);
            match self.read().await {
                Ok(page) => self.page = Some(page),
                Err(problem) => return Some((Err(io::Error::other(problem.detail)), self)),
            }
        }
        Some((Ok(lines), self))
    }

    fn lines(&self, page: &Page) -> Bytes {
        let all = Hide::default();
        let hide = if self.is_redacted { &page.hide } else { &all };
        let mut lines = Vec::new();
        for letter in &page.letters {
            let start = lines.len();
            serde_json::to_writer(&mut lines, &Show::Export(letter, hide))
                .expect("keys are text, nothing fails by itself, and memory takes all");
            // JSON that came may have line ends between its parts.
            for byte in &mut lines[start..] {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
            lines.push(b'\n');
        }
        lines.into()
    }
}
