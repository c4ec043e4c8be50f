//! `dlq export`: to stdout, or into a file that is there only when it is whole.

use super::{Export, path_of};
use crate::cli::client::{Ask, Server};
use crate::cli::exit::{Code, Failure, Kind};
use crate::cli::tail::cannot_write;
use crate::gateway::Told;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

pub(super) async fn run(
    export: &Export,
    server: &Server,
    out: &mut impl Write,
) -> Result<Option<Told>, Failure> {
    let from = export.filter.from.unwrap_or(0);
    let path = format!(
        "{}/export?from={from}&redact={}{}",
        path_of(&export.name),
        export.redact,
        export.filter.query()
    );
    let Some(file) = &export.to else {
        write(server, path, out).await?;
        return Ok(None);
    };
    let letters = into_file(server, path, file).await?;
    Ok(Some(Told {
        ok: true,
        text: format!("wrote {letters} dead letters to {}", file.display()),
        json: json!({ "letters": letters, "file": file.display().to_string() }),
    }))
}

/// How many lines. A reader that went away (`| head`) ends it quietly.
async fn write(server: &Server, path: String, out: &mut impl Write) -> Result<u64, Failure> {
    let mut lines = server.lines(Ask::get(path)).await?;
    let mut count = 0;
    while let Some(text) = lines.next().await? {
        count += text.bytes().filter(|byte| *byte == b'\n').count() as u64;
        match out.write_all(text.as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(count),
            Err(error) => return Err(cannot_write(&error)),
        }
    }
    match out.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(cannot_write(&error)),
        _ => Ok(count),
    }
}

async fn into_file(server: &Server, path: String, file: &Path) -> Result<u64, Failure> {
    let bad = |error: io::Error| {
        let text = format!("can't write {}: {error}", file.display());
        Failure::new(
            Code::Failed,
            Kind::Output,
            text,
            "name a new file, on a disk with room",
        )
    };
    if file.exists() {
        return Err(bad(ErrorKind::AlreadyExists.into()));
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let mut out = BufWriter::new(File::create(part).map_err(bad)?);
    let written = write(server, path, &mut out).await;
    let result = match written {
        Ok(letters) => out
            .get_ref()
            .sync_all()
            .and_then(|()| std::fs::rename(part, file))
            .map(|()| letters)
            .map_err(bad),
        Err(failure) => Err(failure),
    };
    if result.is_err() {
        // Half an export is never taken for a whole one.
        drop(std::fs::remove_file(part));
    }
    result
}
